"""What /proc says of a process of ours, while it goes on running."""
import os
import pathlib


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def resident_bytes(pid):
    fields = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid):
    """What its descriptors stand for ("socket:[1234]", a path). One that it closes while we look
    is none of them."""
    names = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.add(os.readlink(link))
        except FileNotFoundError:
            continue
    return names


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]
