"""`python -m microtvm`."""

from microtvm.cli import main

if __name__ == "__main__":
    main()
