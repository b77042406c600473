"""The two protocols as they are meant, and folders in their place: what lands on the disk, what is
asked of whom, and what is said."""
import hashlib
import json
import os
import random
import subprocess

import pytest

from hub_server import COMMIT, REPO, Reply, git_sha1, sha256

DATA = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(700_001)
TOKEN = "hf_secretsecretsecret"


def split_name(number, count=3):
    return f"Q4_K_M/R1-Q4_K_M-{number:05}-of-{count:05}.gguf"


def test_a_named_file_is_fetched_in_ranges_and_checked(home, make_hub):
    hub = make_hub({"R1-Q4_K_M.gguf": DATA})
    home.endpoint = hub.url
    done = home.pull(f"hf:{REPO}:R1-Q4_K_M.gguf", "--json")
    assert done.returncode == 0, done.stderr
    assert (home.models / "R1-Q4_K_M.gguf").read_bytes() == DATA
    assert home.leftovers() == []
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "done" and last["model"] == "R1-Q4_K_M"
    assert last["files"][0]["sha256"] == sha256(DATA) and last["files"][0]["vouched"]
    assert last["bytes_fetched"] == len(DATA) == hub.file_bytes_sent
    ranges = [request.range for request in hub.requests if request.range]
    assert len(ranges) == -(-len(DATA) // (128 * 1024))
    assert all(request.headers["accept-encoding"] == "identity" for request in hub.requests)
    listed = subprocess.run(home.command("list", "--names"), env=home.environment(), text=True,
                            capture_output=True)
    assert listed.stdout.split() == ["R1-Q4_K_M"]


def test_a_second_pull_fetches_nothing(home, make_hub):
    hub = make_hub({"R1-Q4_K_M.gguf": DATA})
    home.endpoint = hub.url
    assert home.pull(f"hf:{REPO}").returncode == 0
    sent = hub.file_bytes_sent
    again = home.pull(f"hf:{REPO}", "--json")
    assert again.returncode == 0 and hub.file_bytes_sent == sent
    assert json.loads(again.stdout.splitlines()[-1])["files"][0]["was_here"]
    # Without its receipt the content itself is compared.
    for receipt in (home.models / ".pulled").iterdir():
        receipt.unlink()
    assert home.pull(f"hf:{REPO}").returncode == 0 and hub.file_bytes_sent == sent
    (home.models / "R1-Q4_K_M.gguf").write_bytes(OTHER)
    other = home.pull(f"hf:{REPO}")
    assert other.returncode == 1 and "is another file" in other.stderr
    assert (home.models / "R1-Q4_K_M.gguf").read_bytes() == OTHER
    assert home.pull(f"hf:{REPO}", "--as", "mine").returncode == 0
    assert (home.models / "mine.gguf").read_bytes() == DATA


def test_the_token_goes_to_the_hub_alone(home, make_hub):
    cdn = make_hub({"R1-Q4_K_M.gguf": DATA})
    hub = make_hub({"R1-Q4_K_M.gguf": DATA}, cdn=cdn)
    home.endpoint = hub.url
    home.env["HF_TOKEN"] = TOKEN
    done = home.pull(f"hf:{REPO}:Q4_K_M")
    assert done.returncode == 0, done.stderr
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hub.requests)
    assert cdn.requests and all("authorization" not in request.headers for request in cdn.requests)
    everything = b"".join(path.read_bytes() for path in home.folder.rglob("*.json"))
    assert TOKEN.encode() not in everything and TOKEN not in done.stdout + done.stderr
    # The address behind the redirect is kept: not every piece asks the hub again.
    assert len(hub.requests) < len(cdn.requests)


def test_a_token_is_not_sent_in_the_clear(home):
    home.endpoint = "http://mirror.invalid"
    home.env["HF_TOKEN"] = TOKEN
    done = home.pull(f"hf:{REPO}:Q4_K_M")
    assert done.returncode == 2 and "token is not sent" in done.stderr


def test_a_split_set_is_fetched_whole_and_its_first_part_last(home, make_hub):
    parts = {split_name(n): random.Random(n).randbytes(200_000 + n) for n in (1, 2, 3)}
    hub = make_hub({**parts, "R1-Q8_0.gguf": OTHER, "README.md": b"x"}, small=["README.md"])
    hub.page_files = 2
    home.endpoint = hub.url
    done = home.pull(f"hf:{REPO}:q4_k_m", "--json")
    assert done.returncode == 0, done.stderr
    for name, data in parts.items():
        assert (home.models / name.split("/")[1]).read_bytes() == data
    paths = [file["path"] for file in json.loads(done.stdout.splitlines()[-1])["files"]]
    assert [path[-19:-14] for path in paths] == ["00002", "00003", "00001"]
    assert not (home.models / "R1-Q8_0.gguf").exists()


def test_a_missing_part_and_an_unknown_quant_are_named(home, make_hub):
    hub = make_hub({split_name(1): DATA, split_name(3): OTHER, "R1-Q8_0.gguf": OTHER})
    home.endpoint = hub.url
    done = home.pull(f"hf:{REPO}:Q4_K_M")
    assert done.returncode == 1 and "part 2 of 3" in done.stderr
    done = home.pull(f"hf:{REPO}:Q5_K_M")
    assert done.returncode == 1 and "R1-Q8_0" in done.stderr and "What to do" in done.stderr
    assert hub.file_bytes_sent == 0


def folder_files():
    config = json.dumps({"model_type": "qwen2"}).encode()
    return {"config.json": config, "tokenizer.json": OTHER,
            "model-00001-of-000002.safetensors": DATA, "model-00002-of-000002.safetensors": OTHER,
            "model.safetensors.index.json": b"{}", "README.md": b"#", "figures/a.png": b"x",
            "consolidated.safetensors": DATA, "pytorch_model.bin": b"pickle"}


def test_a_folder_of_safetensors_becomes_a_model_directory(home, make_hub):
    files = folder_files()
    hub = make_hub(files, repo="org/R1", small=["config.json", "model.safetensors.index.json"])
    home.endpoint = hub.url
    done = home.pull("hf:org/R1", "--json")
    assert done.returncode == 0, done.stderr
    folder = home.models / "R1"
    wanted = {"config.json", "tokenizer.json", "model-00001-of-000002.safetensors",
              "model-00002-of-000002.safetensors", "model.safetensors.index.json"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert all((folder / name).read_bytes() == files[name] for name in wanted)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["path"] == str(folder) and all(file["vouched"] for file in last["files"])
    assert last["files"][-1]["path"].endswith("/config.json")


def test_a_small_file_is_held_against_its_git_name(home, make_hub):
    hub = make_hub(folder_files(), repo="org/R1", small=["config.json"])
    home.endpoint = hub.url
    hub.change = lambda request, reply: (
        Reply(206, [("content-range", reply.headers[-1][1])], bytes(len(reply.body)))
        if request.range and request.path.endswith("config.json") else None)
    done = home.pull("hf:org/R1")
    assert done.returncode == 3 and "not what was promised" in done.stderr
    assert not (home.models / "R1" / "config.json").exists()
    hub.change = lambda request, reply: None
    sent = hub.file_bytes_sent
    assert home.pull("hf:org/R1").returncode == 0
    assert hub.file_bytes_sent - sent == len(hub.files["config.json"])


def test_the_registry_with_a_token_for_everybody(home, make_hub):
    cdn = make_hub({"deepseek-r1:7b": DATA})
    hub = make_hub({"deepseek-r1:7b": DATA}, cdn=cdn)
    home.endpoint = hub.url
    home.env["HF_TOKEN"] = TOKEN

    def gate(request, reply):
        if request.path == "/token":
            assert request.query == {"service": "here", "scope": "repository:x:pull"}
            return Reply(body=b'{"token": "guest"}')
        if request.headers.get("authorization") != "Bearer guest":
            return Reply(401, [("www-authenticate", f'Bearer realm="{hub.url}/token",'
                                'service="here",scope="repository:x:pull"')])
        return None
    hub.change = gate
    done = home.pull("ollama:deepseek-r1:7b")
    assert done.returncode == 0, done.stderr
    assert (home.models / "deepseek-r1-7b.gguf").read_bytes() == DATA
    assert all("authorization" not in request.headers for request in cdn.requests)
    seen = [request.headers.get("authorization", "") for request in hub.requests]
    assert not any(TOKEN in value for value in seen)


def test_a_dry_run_says_what_and_fetches_nothing(home, make_hub):
    hub = make_hub({"R1-Q4_K_M.gguf": DATA})
    home.endpoint = hub.url
    done = home.pull(f"hf:{REPO}", "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert done.returncode == 0 and plan["event"] == "plan"
    assert plan["bytes_missing"] == plan["bytes_total"] == len(DATA)
    assert hub.file_bytes_sent == 0 and list(home.models.iterdir()) == []


@pytest.mark.parametrize("reference", ["", "r2", "hf:", "hf:a", "hf:../x", "hf:a/b:", "ollama:",
                                       "ollama:../x", "ollama:a:../b", "file:", "http://a/b",
                                       "hf:a/..", "hf:a/b@../c"])
def test_what_is_no_reference_is_refused(home, reference):
    done = home.pull(reference)
    assert done.returncode == 2 and "What to do" in done.stderr, done.stderr


def test_a_name_of_the_catalogue_is_a_reference(home):
    done = home.pull("r1-7b")
    assert done.returncode == 5 and "127.0.0.1:9 cannot be reached" in done.stderr


# ---- without network -----------------------------------------------------------------------------

def hugging_face_cache(folder, name, data):
    cache = folder / "models--org--R1-GGUF"
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "snapshots" / COMMIT).mkdir(parents=True)
    (cache / "blobs" / sha256(data)).write_bytes(data)
    (cache / "refs" / "main").write_text(COMMIT)
    os.symlink(f"../../blobs/{sha256(data)}", cache / "snapshots" / COMMIT / name)


def test_from_a_cache_a_plain_folder_and_another_nautile(home, make_hub, tmp_path):
    hub = make_hub()
    home.endpoint = hub.url
    hugging_face_cache(tmp_path / "cache", "R1-Q4_K_M.gguf", DATA)
    done = home.pull(f"hf:{REPO}:Q4_K_M", "--from", str(tmp_path / "cache"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["files"][0]["vouched"]
    target = home.models / "R1-Q4_K_M.gguf"
    assert target.read_bytes() == DATA and not target.is_symlink()

    plain = tmp_path / "usb" / "R1-GGUF"
    plain.mkdir(parents=True)
    (plain / "R1-Q8_0.gguf").write_bytes(OTHER)
    done = home.pull(f"hf:{REPO}:Q8_0", "--from", str(tmp_path / "usb"))
    assert done.returncode == 0 and sha256(OTHER) in done.stderr  # nobody vouches: it says so
    (plain / "SHA256SUMS").write_text(f"{sha256(DATA)}  R1-Q8_0.gguf\n")
    done = home.pull(f"hf:{REPO}:Q8_0", "--from", str(tmp_path / "usb"), "--as", "other")
    assert done.returncode == 3 and "not what was promised" in done.stderr

    done = home.pull(f"hf:{REPO}:Q4_K_M", "--from", str(home.models), "--as", "copy", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["files"][0]["vouched"]
    assert hub.requests == []


def test_from_an_ollama_store(home, make_hub, tmp_path):
    hub = make_hub()
    home.endpoint = hub.url
    store = tmp_path / "store"
    manifest = store / "manifests" / "127.0.0.1" / "library" / "deepseek-r1" / "7b"
    manifest.parent.mkdir(parents=True)
    (store / "blobs").mkdir()
    (store / "blobs" / f"sha256-{sha256(DATA)}").write_bytes(DATA)
    manifest.write_text(json.dumps({"layers": [
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + sha256(DATA),
         "size": len(DATA)}]}))
    done = home.pull("ollama:deepseek-r1:7b", "--from", str(store))
    assert done.returncode == 0, done.stderr
    assert (home.models / "deepseek-r1-7b.gguf").read_bytes() == DATA
    gone = home.pull("ollama:deepseek-r1:8b", "--from", str(store))
    assert gone.returncode == 1 and "What to do" in gone.stderr
    assert hub.requests == []


def test_a_file_and_a_folder_of_this_machine(home, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.gguf").write_bytes(DATA)
    done = home.pull(f"file:{tmp_path}/here/mine.gguf")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256((home.models / "mine.gguf").read_bytes()).hexdigest() == sha256(DATA)
    # Nothing vouches for it, so nothing is said of bytes that were checked; its digest stays known.
    for again in (done, home.pull(f"file:{tmp_path}/here/mine.gguf")):
        assert f"sha256 is {sha256(DATA)}" in again.stderr and "checked" not in again.stderr
    folder = tmp_path / "Folder"
    folder.mkdir()
    for name, data in folder_files().items():
        if "/" not in name:
            (folder / name).write_bytes(data)
    assert home.pull(f"file:{folder}").returncode == 0
    assert git_sha1((home.models / "Folder" / "config.json").read_bytes()) == git_sha1(
        folder_files()["config.json"])
    gone = home.pull(f"file:{tmp_path}/nothing.gguf")
    assert gone.returncode == 1 and "there is no model at" in gone.stderr


# ---- proxies and TLS -----------------------------------------------------------------------------

def test_a_proxy_is_used_unless_the_host_is_excepted(home, make_hub):
    hub, proxy = make_hub({"R1-Q4_K_M.gguf": DATA}), make_hub({"R1-Q4_K_M.gguf": DATA})
    home.endpoint = hub.url
    home.env["http_proxy"] = f"http://user:word@127.0.0.1:{proxy.port}"
    assert home.pull(f"hf:{REPO}").returncode == 0
    assert hub.requests == [] and proxy.requests
    assert all(request.target.startswith(hub.url) and
               request.headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"
               for request in proxy.requests)
    asked = len(proxy.requests)
    home.env["no_proxy"] = "127.0.0.1"
    assert home.pull(f"hf:{REPO}", "--as", "direct").returncode == 0
    assert len(proxy.requests) == asked and hub.requests
    assert all("proxy-authorization" not in request.headers for request in hub.requests)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """name -> (certificate, key), each its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    made = {}
    for name in ("IP:127.0.0.1", "DNS:elsewhere.example"):
        paths = [folder / f"{len(made)}.{end}" for end in ("crt", "key")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=test", "-addext", f"subjectAltName={name}",
                        "-out", str(paths[0]), "-keyout", str(paths[1])],
                       check=True, capture_output=True)
        made[name] = tuple(map(str, paths))
    return made


def test_tls_is_checked_by_authority_and_by_name(home, make_hub, certificates):
    good, wrong = certificates["IP:127.0.0.1"], certificates["DNS:elsewhere.example"]
    hub = make_hub({"R1-Q4_K_M.gguf": DATA}, tls=good)
    home.endpoint = hub.url
    home.env["HF_TOKEN"] = TOKEN
    stranger = home.pull(f"hf:{REPO}")
    assert stranger.returncode == 3 and "certificate" in stranger.stderr
    assert hub.requests == []
    home.env["SSL_CERT_FILE"] = good[0]
    proxy = make_hub()
    home.env["https_proxy"] = proxy.url
    assert home.pull(f"hf:{REPO}").returncode == 0
    assert (home.models / "R1-Q4_K_M.gguf").read_bytes() == DATA
    assert {request.method for request in proxy.requests} == {"CONNECT"}
    assert not any("authorization" in request.headers for request in proxy.requests)
    del home.env["https_proxy"]

    impostor = make_hub({"R1-Q4_K_M.gguf": DATA}, tls=wrong)
    home.endpoint = impostor.url
    home.env["SSL_CERT_FILE"] = wrong[0]
    done = home.pull(f"hf:{REPO}", "--as", "x")
    assert done.returncode == 3 and "certificate" in done.stderr and impostor.requests == []


def test_https_is_never_left_for_http(home, make_hub, certificates):
    plain = make_hub({"R1-Q4_K_M.gguf": DATA})
    hub = make_hub({"R1-Q4_K_M.gguf": DATA}, cdn=plain, tls=certificates["IP:127.0.0.1"])
    home.endpoint = hub.url
    home.env["SSL_CERT_FILE"] = certificates["IP:127.0.0.1"][0]
    done = home.pull(f"hf:{REPO}")
    assert done.returncode == 3 and "unprotected" in done.stderr and plain.requests == []
