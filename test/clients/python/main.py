# SPDX-License-Identifier: Apache-2.0
"""Runs the suite against the server at MANSIO_ADDR."""

import os
import pathlib
import subprocess
import sys

import cases
from suite import Suite


def certificate():
    """The server's own certificate: the file in its data folder that holds one."""
    folder = pathlib.Path(os.environ["MANSIO_DATA"], "tls")
    for file in sorted(folder.iterdir()):
        if "BEGIN CERTIFICATE" in file.read_text():
            return str(file)
    raise AssertionError(f"no certificate in {folder}")


def over_tls():
    script = pathlib.Path(__file__).with_name("tls.py")
    env = {**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": certificate()}
    done = subprocess.run([sys.executable, str(script)], env=env, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def main():
    suite = Suite()
    suite.add("send sync and async", cases.send)
    suite.add("simple consumer receives and settles", cases.simple)
    suite.add("redelivery after the invisible time", cases.redelivery)
    suite.add("push consumer with a tag filter", cases.push)
    suite.add("push consumer that fails: dead letter", cases.push_dead_letter)
    suite.add("unacknowledged: dead letter", cases.dead_letter)
    suite.add("unknown topic", cases.unknown_topic)
    suite.add("illegal messages", cases.illegal)
    suite.add("large body", cases.large)
    suite.add("TLS with the server's certificate as root", over_tls)
    if os.environ.get("SLOW") == "1":
        suite.add("push consumer slower than its lease", cases.slow)
    failed = suite.run()
    # The SDK leaves threads behind.
    os._exit(0 if failed == 0 else 1)


if __name__ == "__main__":
    main()
