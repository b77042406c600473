"""What the command line answers to a person who errs, and the scripts that it prints."""
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
import servers

ENGLISH = {"LC_ALL": "C.UTF-8"}


def nautile(*arguments, home=None, stdin=b"", stdout=subprocess.PIPE, **environment):
    """Runs the program; stderr is text, stdout bytes that are text where they can be."""
    environment = {**os.environ, **ENGLISH, **environment,
                   **({"NAUTILE_HOME": str(home)} if home else {})}
    done = subprocess.run([servers.program("nautile"), *arguments], input=stdin, stdout=stdout,
                          stderr=subprocess.PIPE, timeout=120, env=environment)
    done.stderr = done.stderr.decode()
    done.raw = done.stdout
    done.stdout = (done.stdout or b"").decode(errors="replace")
    return done


def assert_refused(done, code, *words):
    """Three parts: what happened and why on the first line, what to do on the last."""
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("nautile: ") and lines[-1].startswith("What to do: "), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.fixture(scope="module")
def model():
    return servers.starter_model()


@pytest.fixture
def home(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path


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


def test_manual_pages_name_every_option_of_help():
    verbs = re.findall(r"^  (\w+) ", nautile("--help").stdout.partition("Subcommands:")[2], re.M)
    assert {"serve", "run", "image", "verify", "man"} <= set(verbs)
    for verb in verbs:
        offered = re.findall(r"^  (-\S+|[A-Z_]+) ", nautile(verb, "--help").stdout, re.M)
        page = nautile("man", verb).stdout.replace("\\-", "-")
        described = re.findall(r"\\fB(.*?)\\fR", page)
        assert set(offered) <= set(described) and "" not in described, verb


def test_a_number_below_nothing_is_not_taken_for_a_large_one():
    assert_refused(nautile("run", "M", "--seed", "-1"), 2, "--seed: -1 is less than 0")


def test_run_explains_itself():
    done = subprocess.run([servers.ROOT / "run", "--help"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    assert "--build-only" in done.stdout and "`--` goes to the server" in done.stdout


def test_help_shows_the_defaults():
    for verb, option in (("serve", "--isa"), ("run", "--context"), ("bench", "--prefill"),
                         ("logits", "--rows"), ("perplexity", "--ctx"), ("pull", "--retries")):
        text = nautile(verb, "--help").stdout
        line = next(line for line in text.splitlines() if line.strip().startswith(option))
        assert "=" in line, (verb, line)


@pytest.mark.parametrize("arguments", [
    ["--bogus"], ["run"], ["run", "M", "--temp", "abc"], ["run", "M", "--top-p", "7"],
    ["run", "M", "--think", "--no-think"], ["serve", "--bogus"], ["bench", "M", "--batch", "0"],
    ["show"], ["list", "extra"], ["serve", "--threads"], ["serve", "--threads", "-1"],
    ["serve", "--listen", "8080"], ["serve", "--listen", "127.0.0.1:99999"], ["man", "nope"],
    ["completion", "tcsh"], ["perplexity", "M"]])
def test_a_wrong_command_line_has_three_parts(arguments, home):
    assert_refused(nautile(*arguments, home=home), 2)


def test_a_near_option_is_offered():
    assert_refused(nautile("run", "M", "--tmp", "1"), 2, '"--tmp"', "--temp", "run --help")


@pytest.mark.parametrize("key, wrong, allowed", [
    ("isa", "sse", "auto, scalar, avx2, avx512, amx"), ("kv-type", "f8", "f16, bf16, f32"),
    ("language", "de", "auto, en, fr"), ("log-level", "loud", "error, warning, info, debug")])
def test_a_setting_of_a_few_words_takes_no_other(key, wrong, allowed, home):
    flag = f"--{key}"
    variable = "NAUTILE_" + key.upper().replace("-", "_")
    assert_refused(nautile("config", flag, wrong, home=home), 2, allowed, wrong, flag)
    assert_refused(nautile("serve", flag, wrong, home=home), 2, allowed, flag)
    assert_refused(nautile("config", home=home, **{variable: wrong}), 2, allowed, variable)
    (home / "nautile.toml").write_text(f'{key} = "{wrong}"\n')
    assert_refused(nautile("config", home=home), 2, allowed, "nautile.toml")


def test_the_language_is_that_of_the_setting(home):
    def said(*arguments, **environment):
        return nautile("show", "nope", *arguments, home=home, **environment).stderr

    assert "What to do: " in said() and "Que faire" in said(LC_ALL="fr_FR.UTF-8")
    assert "Que faire" in said("--language", "fr")
    assert "Que faire" in said(NAUTILE_LANGUAGE="fr")
    assert "What to do: " in said("--language", "en", NAUTILE_LANGUAGE="fr")
    assert "Que faire" in said("--language", "auto", NAUTILE_LANGUAGE="en", LC_ALL="fr_FR.UTF-8")
    (home / "nautile.toml").write_text('language = "fr"\n')
    assert "Que faire" in said() and "Que faire" in nautile("run", home=home).stderr
    assert "What to do: " in said("--language", "en")


def test_a_broken_file_of_settings_is_never_ignored(home):
    (home / "nautile.toml").write_text("threads = [\n")
    for verb in (["list"], ["show", "x"], ["rm", "x"], ["config"], ["serve"], ["run", "x", "hi"]):
        assert_refused(nautile(*verb, home=home), 3, "nautile.toml")
    for verb in (["version"], ["man"], ["completion", "bash"]):
        assert nautile(*verb, home=home).returncode == 0


@pytest.mark.parametrize("arguments", [
    ["--help"], ["--version"], ["serve", "--help"], ["list"], ["list", "--json"], ["config"],
    ["config", "--json"], ["version"], ["man"], ["completion", "bash"], ["show", "MODEL"],
    ["show", "MODEL", "--json"], ["tokenize", "MODEL"], ["detokenize", "MODEL"],
    ["template", "MODEL"], ["logits", "MODEL", "--ids", "-", "--out", "-"],
    ["run", "MODEL", "Hello", "--max-tokens", "4"], ["doctor"],
    ["run", "MODEL", "Hello", "--max-tokens", "4", "--json"]])
def test_a_full_disk_is_an_error_of_every_command(arguments, home, model):
    (home / "models" / "notes.txt").write_text("no model")
    stdin = {"template": b'{"messages": [{"role": "user", "content": "Hi"}]}'}.get(
        arguments[0], b"[1, 2, 3]")
    with open("/dev/full", "wb") as full:
        done = nautile(*[model if word == "MODEL" else word for word in arguments], home=home,
                       stdin=stdin, stdout=full)
    assert done.returncode == 4, done.stderr
    assert "No space left on device" in done.stderr and "What to do: " in done.stderr


def test_a_reader_that_goes_away_is_no_error(home):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as gone:
        done = nautile("man", "serve", home=home, stdout=gone)
    assert done.returncode == 0 and done.stderr == ""


def test_serve_ends_when_no_named_model_can_be_served(home):
    bad, readme = home / "bad.gguf", home / "README.md"
    bad.write_text("This is no model.")
    readme.write_text("Neither is this.")
    done = nautile("serve", "--listen", "127.0.0.1:0", "--model", str(bad), "--model", str(readme),
                   home=home)
    assert done.returncode == 3 and "\nWhat to do: " in done.stderr, done.stderr
    assert "bad is not served: " in done.stderr and "README.md is not served: " in done.stderr
    assert done.stderr.count('does not begin with "GGUF"') == 2, done.stderr


def test_list_names_what_is_no_model_with_the_reason(home, model):
    shutil.copy(model, home / "models" / "good.gguf")
    (home / "models" / "bad.gguf").write_text("This is no model.")
    (home / "models" / "notes.txt").write_text("Neither is this.")
    done = nautile("list", home=home)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == {"good", "bad", "notes.txt"}
    assert "cannot be run" not in lines["good"]
    assert "cannot be run" in lines["bad"] and "GGUF" in lines["bad"]
    assert "cannot be run" in lines["notes.txt"] and ".gguf" in lines["notes.txt"]
    lines = nautile("list", "--json", home=home).stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert {entry["name"]: "not_runnable" in entry for entry in entries} == {
        "good": False, "bad": True, "notes.txt": True}


def test_arguments_are_checked_before_the_data_folder_is_taken(home):
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(nautile("serve", home=home), 5, "already running")
        assert_refused(nautile("serve", "--listen", "0.0.0.0:8080", home=home), 3, "0.0.0.0")
        assert_refused(nautile("serve", "--listen", "somewhere:8080", home=home), 2, "numeric")
        assert_refused(nautile("serve", "--listen", "127.0.0.1:70000", home=home), 2, "65535")
        assert_refused(nautile("serve", "--isa", "sse", home=home), 2, "avx2")
        assert_refused(nautile("serve", "--model", "nope", home=home), 1, "nope")


def test_a_prefix_of_several_models_names_them(home):
    for name in ("Qwen-1B", "Qwen-7B"):
        (home / "models" / f"{name}.gguf").write_text("x")
    done = nautile("show", "qwen", home=home)
    assert_refused(done, 2, '"Qwen-1B"', '"Qwen-7B"')
    assert "there is no model" not in done.stderr


def test_files_that_are_no_models_are_refused_with_advice(tmp_path):
    for name, text in (("README.md", b"text"), ("tiny.gguf", b"GG"), ("empty.gguf", b""),
                       ("text.gguf", b"some text")):
        (tmp_path / name).write_bytes(text)
        assert_refused(nautile("show", str(tmp_path / name)), 3, name)


def test_text_that_is_not_utf8_is_refused_and_named(model, tmp_path):
    wrong = "abé".encode() + b"\xff" + b"cd"
    assert_refused(nautile("tokenize", model, stdin=wrong), 3, "standard input", "UTF-8", "byte 4 ")
    assert_refused(nautile("run", model, "-", stdin=wrong), 3, "standard input", "UTF-8", "byte 4 ")
    (tmp_path / "wrong.txt").write_bytes(wrong)
    assert_refused(nautile("perplexity", model, "--text", str(tmp_path / "wrong.txt")), 3,
                   "wrong.txt", "UTF-8")


def test_ids_are_checked(model):
    ids = json.loads(nautile("tokenize", model, stdin="Un été.".encode()).stdout)
    assert nautile("detokenize", model, stdin=json.dumps(ids).encode()).stdout == "Un été."
    assert_refused(nautile("detokenize", model, stdin=b"[1, 49152]"), 3, "49152", "49151")
    for wrong in (b"", b"[1", b"{}", b"[-1]", b"[1.5]", b'["a"]', b"[4294967296]"):
        assert_refused(nautile("detokenize", model, stdin=wrong), 3)


def test_an_empty_prompt_is_refused(model):
    for arguments, stdin in ((["run", model, ""], b""), (["run", model, " "], b""),
                             (["run", model, "-"], b""), (["run", model, "-"], b" \n")):
        assert_refused(nautile(*arguments, stdin=stdin), 3, "empty")


def test_a_template_wants_messages_and_says_what_to_do(model, tmp_path):
    for stdin in (b"{}", b"[]", b"", b"{", b'{"messages": 1}'):
        assert_refused(nautile("template", model, stdin=stdin), 3, "messages")
    (tmp_path / "own.jinja").write_text("{{ word }}")
    assert nautile("template", str(tmp_path / "own.jinja"), stdin=b'{"word": "x"}').stdout == "x"
    for text in ("{% if %}", "{{ raise_exception('no') }}", "{{ a.b.c }}"):
        (tmp_path / "wrong.jinja").write_text(text)
        assert_refused(nautile("template", str(tmp_path / "wrong.jinja"), stdin=b"{}"), 3)


def test_logits_go_to_stdout_and_wrong_rows_are_refused(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = nautile("logits", model, "--ids", "-", "--rows", "all", "--out", "-", stdin=b"[1, 2]")
    assert done.returncode == 0, done.stderr
    assert len(done.raw) == 2 * 49152 * 4 and json.loads(done.stderr)["rows"] == 2
    assert not (tmp_path / "-").exists()
    done = nautile("logits", model, "--ids", "-", "--rows", "all", "--out", "f", stdin=b"[1, 2]")
    assert json.loads(done.stdout)["rows"] == 2
    for rows, code in (("2", 2), ("x", 2), ("0,,1", 2), ("", 2)):
        assert_refused(nautile("logits", model, "--ids", "-", "--rows", rows, "--out", "f",
                               stdin=b"[1, 2]"), code, "--rows")
    assert_refused(nautile("logits", model, "--ids", "-", "--out", "no/such/f", stdin=b"[1]"), 1)


def test_a_context_that_the_model_has_not_is_said(model):
    done = nautile("run", model, "Hi", "--context", "1000000", "--max-tokens", "1")
    assert done.returncode == 0 and "not 1000000" in done.stderr, done.stderr
    done = nautile("run", model, "Hi", "--max-tokens", "1")
    assert done.returncode == 0 and done.stderr == ""


@pytest.fixture
def checkout(tmp_path):
    """A copy of ./run whose program is built already and says how it was started."""
    folder = tmp_path / "checkout"
    (folder / "tools").mkdir(parents=True)
    (folder / "build" / "release").mkdir(parents=True)
    shutil.copy(servers.ROOT / "run", folder / "run")
    shutil.copy(servers.ROOT / "tools" / "packages.sh", folder / "tools" / "packages.sh")
    program = folder / "build" / "release" / "nautile"
    program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    # What ./run works out for a folder that is no git checkout.
    (folder / "build" / "release" / ".built").write_text(
        hashlib.sha256(b"none\n").hexdigest() + "\n")
    return folder


def run_script(checkout, *arguments, **environment):
    elsewhere = checkout.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(["../checkout/run", *arguments], cwd=elsewhere, text=True,
                          capture_output=True, timeout=60,
                          env={**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent),
                               **environment})


def test_run_takes_paths_from_where_it_is_called_and_its_options_anywhere(checkout):
    done = run_script(checkout, "--model", "./a b.gguf", "--no-starter", "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(checkout.parent / "elsewhere"), "serve", "--model",
                                        "./a b.gguf", "--threads", "2"]
    done = run_script(checkout, "--listen", "127.0.0.1:1", "--build-only")
    assert done.returncode == 0 and done.stdout == "", done.stderr


def test_run_says_what_to_do_when_the_starter_has_no_place(checkout):
    fetched = checkout.parent / "fetched"
    (fetched / "starter").mkdir(parents=True)
    (fetched / ".starter.complete").touch()
    (fetched / "starter" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_text("GGUF")
    full = checkout.parent / "full"
    full.write_text("a file where the data folder should be")
    done = run_script(checkout, NAUTILE_FETCH_DIR=str(fetched), NAUTILE_HOME=str(full))
    assert done.returncode == 1 and done.stdout == "", done.stdout
    lines = done.stderr.strip().splitlines()
    assert all(line.startswith("run: ") for line in lines), done.stderr
    assert "What to do: " in lines[-1] and "fetching" not in done.stderr
    home = checkout.parent / "home"
    done = run_script(checkout, NAUTILE_FETCH_DIR=str(fetched), NAUTILE_HOME=str(home))
    assert done.returncode == 0 and "fetching" not in done.stderr, done.stderr
    assert [path.name for path in (home / "models").iterdir()] == [
        "SmolLM2-135M-Instruct.Q4_1.gguf"]
