"""How much of a slow line carries data, and what travels: counted, on a simulated line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.link import LEAST_USE, ROWS, Traffic, line_use, main, traffic
from benchmarks.link_echo import EchoFigures
from benchmarks.reliability import in_readme, line_cell
from tests.conftest import require_tool
from tests.device.harness import Server


def test_nine_tenths_of_the_line_are_data(server: Server) -> None:
    use = {way: line_use(server, way) for way in ("write", "read")}
    assert all(LEAST_USE <= part <= 1 for part in use.values()), use
    assert in_readme("line") == line_cell(**use)


@pytest.fixture(scope="module")
def travelled(server: Server) -> dict[str, Traffic]:
    return traffic(server)


def test_an_empty_call_is_one_frame_each_way(travelled: dict[str, Traffic]) -> None:
    assert travelled["empty call"] == Traffic(
        writes=1, frames_there=1, bytes_there=9, frames_back=1, bytes_back=10
    )


def test_a_transfer_is_one_write_for_each_window(travelled: dict[str, Traffic]) -> None:
    """Inputs of 300 and 16 bytes, four frames of up to 128 bytes; a run and a read."""
    found = travelled["inference, all inputs new"]
    assert found.writes == 2 + 1 + 1
    assert found.frames_there == 4 + 1 + 1
    assert found.bytes_there <= 316 + 6 * 12
    # An acknowledgement each, `accepted` and the result, the data.
    assert found.frames_back == 4 + 2 + 1


def test_what_the_device_holds_is_not_sent_again(travelled: dict[str, Traffic]) -> None:
    new, known = travelled["inference, all inputs new"], travelled["inference, one input new"]
    assert known.frames_there == new.frames_there - 1
    assert known.bytes_there <= new.bytes_there - 16
    nothing = travelled["first operator, nothing new"]
    assert (nothing.writes, nothing.frames_there) == (1, 1)


def test_rows_of_a_batch_cost_what_they_differ_in(travelled: dict[str, Traffic]) -> None:
    assert travelled[f"run_many, {ROWS} rows, all new"] == Traffic(
        **{name: ROWS * count for name, count in vars(travelled[_ALL]).items()}
    )
    one = travelled[f"run_many, {ROWS} rows, one input new"]
    assert one.bytes_there == ROWS * travelled["inference, one input new"].bytes_there


_ALL = "inference, all inputs new"


def test_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("gcc")
    assert main(["--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["line_use"]["write"] >= LEAST_USE
    assert figures["traffic"]["empty call"]["writes"] == 1
    assert figures["echo"] == {}


def test_the_benchmark_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.link.measure", lambda: EchoFigures(*[1.25] * 9))
    assert main(["--emulator"]) == 0
    said = capsys.readouterr().out
    assert "| empty call | 1 | 1 | 9 | 1 | 10 |" in said
    assert "call: 1.25" in said


@pytest.mark.parametrize("slow", [{"write": 0.89}, {"read": 0.89}, {"call": 1.31}])
def test_the_benchmark_fails_where_the_link_is_slow(
    slow: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = replace(EchoFigures(*[1.25] * 9), **slow)
    monkeypatch.setattr("benchmarks.link.measure", lambda: figures)
    assert main(["--emulator"]) == main(["--emulator", "--json"]) == 1
