"""What a project is, and what its platform: a template with, where its own tools ask for it, a way
to build and to look.

A platform that comes with microtvm has its template in `project_templates/`; a third party's has it
where it likes, and is found by the entry point group `microtvm.platforms`, whose names are the
platforms' and whose values are subclasses of `Platform`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from microtvm.errors import UserError
from microtvm.project.library import Library
from microtvm.project.option import Option, Value, by_step, parse_options
from microtvm.target import Board, FlashTool, Memory, data_folder, load_programmer

LINK_BAUD = 115200
"""The speed at which the drivers of all templates run the link."""


@dataclass(frozen=True)
class Project:
    """A created project; nothing says that it has been built."""

    folder: Path
    board: Board
    platform: Platform
    options: Mapping[str, Value]
    """Of the platform, as given when the project was created, or their defaults; in a step of the
    project's life also those of the step."""
    library: Library
    """The copy inside the project."""
    stack_bytes: int

    @property
    def elf(self) -> Path:
        """Where the build puts the image."""
        return self.platform.elf(self)

    @property
    def map_file(self) -> Path:
        """Where the linker writes its map."""
        return self.platform.map_file(self)

    def by_step(self, given: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
        """Options of the platform by the step that each is meant for.

        UserError for an unknown one, and for one that was decided when the project was created.
        """
        steps = by_step(self.platform.name, self.platform.options, given)
        if steps["create"]:
            raise UserError(
                f"the project {self.folder} was created with its option {min(steps['create'])}",
                hint="create the project again",
            )
        return steps

    def in_step(self, method: str, given: Mapping[str, Value] | None = None) -> Project:
        """The same with all options of `method` (`build`, `flash` or `open`) too, given or default.

        UserError for an option that is unknown or another step's, or a value of the wrong type.
        """
        options = parse_options(self.platform.name, self.platform.options_of(method), given or {})
        return replace(self, options={**self.options, **options})


@dataclass(frozen=True)
class Built:
    """A project whose image exists."""

    project: Project
    elf: Path
    map_file: Path
    log: Path
    """What the build's tools said."""


class Platform(ABC):
    """One way to make an image. Instances have no state."""

    name: str
    """As boards name it in `platforms`."""
    options: tuple[Option, ...] = ()
    building: str = "building"
    """What is said while it builds."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    @property
    def template_folder(self) -> Path:
        """The folder that has `template.toml`."""
        return data_folder("project_templates") / self.name

    def check(self, board: Board, options: Mapping[str, Value]) -> None:  # noqa: B027 (optional)
        """Raises BoardError, UserError or ToolError for what the platform can't do with the board,
        before anything is written."""

    def context(
        self, board: Board, library: Library, options: Mapping[str, Value]
    ) -> dict[str, object]:
        """What its template may refer to besides what every template may."""
        return {}

    def options_of(self, method: str) -> list[Option]:
        """The options that are meant for a step; those of `create` stay with a project."""
        return [option for option in self.options if option.method == method]

    @abstractmethod
    def build(self, project: Project, *, strict: bool = False, jobs: int = 2) -> Built:
        """Builds the image with the platform's own tools; `strict` makes every warning an error.

        ToolError if a tool is missing or fails, with the first telling lines of what it said;
        FitError if the linker finds a memory too small.
        """

    def model_folder(self, prefix: str) -> str:
        """Where in the project the model library of that prefix lies."""
        return "model"

    def elf(self, project: Project) -> Path:
        """Where the build puts the image."""
        return project.folder / "build" / f"{project.library.prefix}.elf"

    def map_file(self, project: Project) -> Path:
        """Where the linker writes its map."""
        return self.elf(project).with_suffix(".map")

    def run_function(self, project: Project) -> str:
        """The function that the image's server calls for a whole inference."""
        return f"{project.library.prefix}_run"

    def stack_guard_bytes(self, board: Board) -> int | None:
        """What of the board's stack guards its end, if everything that an image does is on that
        stack; None where there are others, or nobody knows."""
        return None

    def emulator_argv(self, project: Project, serial: str) -> list[str]:
        """The command that runs the built image in the board's emulator, with its link on QEMU's
        character device `serial`. The board must have an emulator."""
        emulator = project.board.emulator
        assert emulator is not None
        return emulator.command(self.elf(project), serial)

    def arena_pools(self, board: Board) -> tuple[Memory, ...]:
        """The memories that it can place an arena in, the first choice first; () where it leaves
        the arena to the board's memory for it."""
        return ()

    def build_folder(self, project: Project) -> Path:
        """The folder that the build writes to."""
        return project.folder / "build"

    def flash_tools(self, project: Project) -> tuple[FlashTool, ...]:
        """What can put the project's image into its board, the first choice first; by default what
        the board names: this platform's own tools before the others, and no other platform's.

        Arguments have the placeholders of `target.FLASH_PLACEHOLDERS`, and tools are called in the
        project's folder.
        """
        tools = project.board.flash_tools
        owners = {tool: load_programmer(Path(tool.argv[0]).name).platform for tool in tools}
        return tuple(tool for owner in (self.name, "") for tool in tools if owners[tool] == owner)

    def baud(self, project: Project) -> int:
        """The speed of the link where that is a serial port; every template sets the same."""
        return LINK_BAUD
