// SPDX-License-Identifier: Apache-2.0

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { register } from './cases.mjs';
import { Suite } from './suite.mjs';

/** The server's own certificate: the file in its data folder that holds one. */
function certificate() {
  const dir = path.join(process.env.MANSIO_DATA, 'tls');
  for (const name of readdirSync(dir)) {
    const file = path.join(dir, name);
    if (readFileSync(file, 'utf8').includes('BEGIN CERTIFICATE')) {
      return file;
    }
  }
  throw new Error(`no certificate in ${dir}`);
}

async function overTLS() {
  const script = path.join(import.meta.dirname, 'tls.mjs');
  const env = { ...process.env, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: certificate() };
  await promisify(execFile)(process.execPath, [script], { env, timeout: 60_000 });
}

const suite = new Suite();
register(suite);
suite.add('TLS with the server\'s certificate as root', overTLS);
const failed = await suite.run();
process.exit(failed === 0 ? 0 : 1);
