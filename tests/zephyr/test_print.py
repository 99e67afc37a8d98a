"""What an application prints where the link has the console's UART: the host hears it."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.inference import boot
from microtvm.pipeline import compile_model
from microtvm.project import build_project, create_project
from microtvm.target import load_board
from tests.golden.mlperf import model_file
from tests.zephyr.test_run import SMALL, check_goldens

MAIN = """\
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>

#include "mtvm_zephyr.h"

LOG_MODULE_REGISTER(app);

int main(void)
{
	mtvm_server_start();
	for (int i = 0;; i++) {
		k_sleep(K_MSEC(5));
		printk("turn %d\\n", i);
		LOG_WRN("warned");
	}
}
"""


@pytest.mark.qemu
@pytest.mark.usefixtures("zephyr_base")
def test_printk_and_log_come_beside_the_answers(tmp_path: Path) -> None:
    board = load_board("qemu-mps2-an385")
    library = tmp_path / "library"
    compile_model(model_file(SMALL), board.cpu, prefix=SMALL).library.write(library)
    project = create_project(library, board, tmp_path / "project", platform="zephyr")
    (project.folder / "src" / "main.c").write_text(MAIN)
    configuration = project.folder / "prj.conf"
    text = configuration.read_text()
    assert "CONFIG_PRINTK=n\n" in text
    text = text.replace("CONFIG_PRINTK=n\n", "CONFIG_PRINTK=y\n")
    configuration.write_text(f"{text}CONFIG_LOG=y\nCONFIG_LOG_MODE_MINIMAL=y\n")
    build_project(project, strict=True)
    heard: list[str] = []
    with boot(project, tmp_path).session as session:
        session.on_log(heard.append)
        # How fast the board's time goes depends on what it executes.
        for _ in range(100):
            check_goldens(session, SMALL, 3)
            if "".join(heard).count("turn") > 5:
                break
        assert session.retransmissions == 0
    # The first line heard may be the rest of one, and the last the beginning.
    lines = "".join(heard).split("\n")[1:-1]
    turns = [int(line.removeprefix("turn ")) for line in lines if line.startswith("turn ")]
    assert len(turns) >= 3
    assert turns == list(range(turns[0], turns[0] + len(turns)))
    assert {line for line in lines if not line.startswith("turn ")} == {"W: warned"}
