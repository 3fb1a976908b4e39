// SPDX-License-Identifier: Apache-2.0
package io.mansio.test;

/** Runs the suite against the server at MANSIO_ADDR. */
public final class Main {
    private Main() {
    }

    public static void main(String[] args) throws Exception {
        boolean slow = "1".equals(System.getenv("SLOW"));
        Suite suite = new Suite();
        new Cases(true).register(suite, slow);
        new Cases(false).register(suite, false);
        int failed = suite.run();
        // Push consumers are left to the end of the process.
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }
}
