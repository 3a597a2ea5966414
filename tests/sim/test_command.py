"""How scripts end: exit codes, one line for a mistake, a traceback for a defect."""

import signal

import pytest
import torch

from sim.command import Interrupt, command, use_threads


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_what_main_returns(returned, code, capsys):
    assert command(lambda arguments: returned)("arguments") == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ValueError, TypeError, FileNotFoundError, ModuleNotFoundError, ChildProcessError])
def test_a_mistake_is_one_line(error, capsys):
    @command
    def main(arguments):
        raise error(f"{arguments} is wrong")

    assert main("--seed") == 2
    assert capsys.readouterr() == ("", "error: --seed is wrong\n")


def test_an_interruption_is_said(capsys):
    @command
    def main():
        raise KeyboardInterrupt

    assert main() == 130 and capsys.readouterr().err == "interrupted\n"


def test_a_defect_keeps_its_traceback():
    @command
    def main():
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        main()


def test_threads():
    before = torch.get_num_threads()
    try:
        use_threads(2)
        use_threads(None)
        assert torch.get_num_threads() == 2
        for count in (0, -1):
            with pytest.raises(ValueError, match=f"--threads is {count}; it must be at least 1"):
                use_threads(count)
    finally:
        torch.set_num_threads(before)


def test_a_first_interrupt_asks_and_a_second_one_stops():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
