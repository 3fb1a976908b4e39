# SPDX-License-Identifier: Apache-2.0
"""Runs cases side by side: one line per case, and a closing line with the counts."""

import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor


class Suite:
    """Cases by name. They run in threads, since they mostly wait."""

    def __init__(self):
        self._cases = []

    def add(self, name, run):
        self._cases.append((name, run))

    def run(self):
        """Runs every case and returns how many failed."""
        with ThreadPoolExecutor(max_workers=len(self._cases)) as pool:
            results = list(pool.map(lambda case: _one(*case), self._cases))
        failed = results.count(False)
        print(f"{len(results) - failed} passed, {failed} failed", flush=True)
        return failed


def _one(name, run):
    start = time.monotonic()
    try:
        run()
    except Exception:  # a case may fail in any way; the line must say how
        print(f"FAILED  {name} ({time.monotonic() - start:.1f} s): {traceback.format_exc()}", flush=True)
        return False
    print(f"ok      {name} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.stdout.flush()
    return True
