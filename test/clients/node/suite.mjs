// SPDX-License-Identifier: Apache-2.0

// Runs cases side by side: one line per case, and a closing line with the counts.

export class Suite {
  #cases = [];

  add(name, run) {
    this.#cases.push({ name, run });
  }

  /** Runs every case and returns how many failed. */
  async run() {
    const results = await Promise.all(this.#cases.map(one));
    const failed = results.filter(ok => !ok).length;
    console.log(`${results.length - failed} passed, ${failed} failed`);
    return failed;
  }
}

async function one({ name, run }) {
  const start = Date.now();
  const took = () => `${((Date.now() - start) / 1000).toFixed(1)} s`;
  try {
    await run();
    console.log(`ok      ${name} (${took()})`);
    return true;
  } catch (err) {
    console.log(`FAILED  ${name} (${took()}): ${err.stack ?? err}`);
    return false;
  }
}
