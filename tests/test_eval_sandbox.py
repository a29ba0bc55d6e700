"""Programs that a model might write, and what the sandbox makes of them."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hogwild.eval import sandbox
from hogwild.eval.sandbox import Limits, run_program, run_tests

RIGHT = "def double(n):\n    return 2 * n\n"
TESTS = "assert double(2) == 4\nassert double(-1) == -2\n"
FAST = Limits(seconds=10.0, memory_bytes=1 << 28)


@pytest.fixture(params=["namespaces", "python alone"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With namespaces where this machine has them, and without."""
    if request.param == "python alone":
        monkeypatch.setattr(sandbox, "_prefix", tuple)
    elif not sandbox._prefix():
        pytest.skip("this machine lets us make no namespaces")
    return str(request.param)


def test_a_right_and_a_wrong_program(way: str) -> None:
    assert run_tests(RIGHT, TESTS, FAST).passed
    wrong = run_tests(RIGHT.replace("2 *", "3 *"), TESTS, FAST)
    assert (wrong.passed, wrong.why) == (False, "AssertionError:")
    broken = run_tests("def double(n:", TESTS, FAST)
    assert not broken.passed
    assert broken.why.startswith("SyntaxError")


@pytest.mark.parametrize(
    "trick",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "print('passed')\nprint('0' * 64)\nimport os\nos._exit(0)",
        "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'passed')\n    except OSError: pass\nos._exit(0)",
        "import builtins\nbuiltins.AssertionError = None\ndef double(n): return 5",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nos._exit(0)",
        "import atexit, os\natexit.register(os._exit, 0)\ndef double(n): return 5",
        "def double(n):\n    import os\n    os._exit(0)",
        "import ctypes, os\nif ctypes.CDLL(None).fork(): os._exit(0)\ndef double(n): return 5",
    ],
)
def test_no_early_end_is_success(way: str, trick: str) -> None:
    ended = run_tests(trick, TESTS, FAST)
    assert not ended.passed
    assert ended.why
    assert "\n" not in ended.why


def test_endless_loop(way: str) -> None:
    begun = time.monotonic()
    ended = run_tests("while True: pass", TESTS, replace(FAST, seconds=1.0))
    assert (ended.passed, ended.why) == (False, "it took longer than 1 s")
    assert time.monotonic() - begun < 30  # a guard against hanging, no measurement
    sleepy = run_tests("import time\ntime.sleep(60)", TESTS, replace(FAST, seconds=0.5))
    assert sleepy.why == "it took longer than 0.5 s"
    said = "import resource\nprint(*resource.getrlimit(resource.RLIMIT_CPU))"
    assert run_program(said, "", replace(FAST, seconds=1.5)).output == "3 3\n"  # after the wall's


def test_memory_hog(way: str) -> None:
    assert run_tests("x = bytearray(1 << 30)", TESTS, FAST).why.startswith("MemoryError")
    assert not run_tests("x = []\nwhile True: x.append('y' * 1000000)", TESTS, FAST).passed


def at_work() -> list[psutil.Process]:
    """Programs of a sandbox that still run. A zombie waits only for whoever is process 1 to take notice."""
    found = list[psutil.Process]()
    for one in psutil.process_iter(["cmdline", "status"]):
        if any("jail.py" in word for word in one.info["cmdline"] or ()) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one)
    return found


def all_gone(before: list[psutil.Process]) -> bool:
    """Whether none is left but those; what was killed may take a moment to go."""
    for _ in range(200):
        if not {one.pid for one in at_work()} - {one.pid for one in before}:
            return True
        time.sleep(0.05)
    return False


def test_fork_bomb(way: str) -> None:
    before = at_work()
    ended = run_tests("import os\nwhile True:\n    os.fork()", TESTS, replace(FAST, seconds=2.0))
    assert ended.why == "PermissionError: programs under test start no others"
    assert all_gone(before)


@pytest.mark.parametrize("start", ["os.system('true')", "subprocess.run(['true'])", "os.execv('/bin/true', ['true'])"])
def test_no_other_programs(way: str, start: str) -> None:
    ended = run_tests(f"import os, subprocess\n{start}\n{RIGHT}", TESTS, FAST)
    assert ended.why == "PermissionError: programs under test start no others"


def test_a_fork_bomb_that_goes_around_python() -> None:
    if not sandbox._prefix():
        pytest.skip("this machine lets us make no namespaces, and only those hold it as root")
    before = at_work()
    bomb = "import ctypes\nfork = ctypes.CDLL(None).fork\nwhile fork() >= 0: pass\nraise OSError('no more')"
    ended = run_tests(bomb, TESTS, replace(FAST, seconds=2.0))
    assert not ended.passed
    assert ended.why.startswith("OSError: no more") or ended.why == "it took longer than 2 s"
    assert all_gone(before)


def test_what_a_program_leaves_behind_is_killed() -> None:
    if not sandbox._prefix():
        pytest.skip("this machine lets us make no namespaces: see what the sandbox does not guarantee")
    before = at_work()
    stays = "import ctypes, os, time\nif not ctypes.CDLL(None).fork():\n    os.setsid()\n    time.sleep(600)\n"
    assert run_tests(stays + RIGHT, TESTS, FAST).passed
    assert all_gone(before)


def test_no_network(way: str) -> None:
    """Neither a server of this very machine nor any address can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket\ns = socket.create_connection(('127.0.0.1', {port}), 2)\n{RIGHT}"
        assert not run_tests(program, TESTS, FAST).passed
        direct = f"import _socket\ns = _socket.socket()\ns.connect(('127.0.0.1', {port}))\n{RIGHT}"
        assert not run_tests(direct, TESTS, FAST).passed
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


def test_network_is_gone_where_a_namespace_is() -> None:
    if not sandbox._prefix():
        pytest.skip("this machine lets us make no namespaces")
    assert sandbox.isolation() == "no network: a namespace"
    program = "import os\nups = open('/proc/net/route').read().splitlines()[1:]\nassert not ups\n"
    assert run_tests(program + RIGHT, TESTS, FAST).why == ""


def test_big_file_and_many_files(way: str) -> None:
    big = "with open('x', 'wb') as f:\n    for _ in range(100): f.write(bytes(1 << 20))"
    assert "File too large" in run_tests(big, TESTS, FAST).why
    many = "files = [open(str(i), 'w') for i in range(1000)]"
    assert "Too many open files" in run_tests(many, TESTS, FAST).why


def test_output_without_end(way: str) -> None:
    ended = run_tests("while True: print('x' * 1000)", TESTS, FAST)
    assert ended.why == "it wrote more than 65536 bytes"
    assert len(ended.output) == 65536


def test_an_empty_folder_and_no_environment(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    ended = run_tests(
        "import os\nprint(os.listdir('.'), 'SECRET_TOKEN' in os.environ, os.getcwd())\n" + RIGHT, TESTS, FAST
    )
    assert ended.passed
    assert ended.output.startswith("[] False ")
    assert not Path(ended.output.split()[-1]).exists()  # it is gone afterwards


def test_root_writes_nowhere_else(tmp_path: Path) -> None:
    if os.getuid() != 0 or not sandbox._prefix():
        pytest.skip("only root can become nobody")
    ended = run_tests(f"open({str(tmp_path / 'x')!r}, 'w')", TESTS, FAST)
    assert ended.why.startswith("PermissionError")
    assert not (tmp_path / "x").exists()


def test_programs_that_read_and_print(way: str) -> None:
    ended = run_program("n = int(input())\nif __name__ == '__main__':\n    print(n * 2)", "21\n", FAST)
    assert (ended.passed, ended.output) == (True, "42\n")
    assert run_program("print('as \\ud83d\\ude00'.encode('utf-16', 'surrogatepass').decode('utf-16'))", "", FAST).passed
    assert run_program("import sys\nprint(1)\nsys.exit()", "", FAST).passed
    assert run_program("print(len(input()))", "x" * 200_000 + "\n", FAST).output == "200000\n"
    assert run_program("1 / 0", "", FAST).why == "ZeroDivisionError: division by zero"
    assert run_program("import sys\nsys.exit(3)", "", FAST).why == "SystemExit: 3"


def test_no_file_is_left_open(way: str) -> None:
    run_tests(RIGHT, TESTS, FAST)
    before = psutil.Process().num_fds()
    for _ in range(3):
        run_tests(RIGHT, TESTS, FAST)
        run_tests("while True: pass", TESTS, replace(FAST, seconds=0.2))
    assert psutil.Process().num_fds() == before
