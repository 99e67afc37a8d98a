"""Model files to graphs: `load_model` for what must work, `import_model` for what may have
problems.
"""

from microtvm.frontend.tensor import Problem
from microtvm.frontend.tflite import Import, import_model, load_model

__all__ = ["Import", "Problem", "import_model", "load_model"]
