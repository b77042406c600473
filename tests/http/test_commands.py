"""What the command line answers to a person who errs, and the scripts that it prints."""
import os
import shlex
import subprocess

import servers


def nautile(*arguments, home=None):
    return subprocess.run([servers.program("nautile"), *arguments], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=60,
                          env=dict(os.environ, **({"NAUTILE_HOME": str(home)} if home else {})))


def test_an_unknown_command_is_named_and_a_near_one_offered():
    done = nautile("serv")
    assert done.returncode == 2
    assert '"serv"' in done.stderr and "`nautile serve`" in done.stderr
    done = nautile("xyzzy")
    assert done.returncode == 2 and "`nautile --help`" in done.stderr


def test_ps_without_a_server_says_how_to_start_one(tmp_path):
    done = nautile("ps", "--listen", "127.0.0.1:1", home=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "no server answers" in done.stderr and "`nautile serve`" in done.stderr


def test_completions_are_whole_scripts():
    for shell in ("zsh", "fish"):
        text = nautile("completion", shell).stdout
        words = shlex.split(text, comments=False)  # fails where a quote is left open
        assert any("write the model's logits" in word for word in words), shell
    text = nautile("completion", "bash").stdout
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
