"""What of the daemon's environment a worker gets."""

from bflcd.learn.environment import worker_environment

OWN = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "CUDA_VISIBLE_DEVICES": "1",
    "LD_LIBRARY_PATH": "/opt/lib",
    "TMPDIR": "/scratch",
    "OMP_NUM_THREADS": "64",
    "BFLCD_NODE_PASSPHRASE_FILE": "/secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "SSH_AUTH_SOCK": "/agent",
    "LD_PRELOAD": "/tmp/x.so",
    "PYTHONSTARTUP": "/tmp/x.py",
    "MY_ROWS": "/data",
    "XPATH": "/x",
}


def test_it_gets_what_computing_needs_and_what_its_operator_names():
    found = worker_environment(3, OWN)
    assert {name: found[name] for name in OWN if name in found} == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "1",
        "LD_LIBRARY_PATH": "/opt/lib",
        "TMPDIR": "/scratch",
        "OMP_NUM_THREADS": "3",
    }
    assert worker_environment(3, OWN, ("MY_ROWS",)) == found | {"MY_ROWS": "/data"}
