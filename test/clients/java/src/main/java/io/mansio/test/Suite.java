// SPDX-License-Identifier: Apache-2.0
package io.mansio.test;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Runs cases side by side: one line per case, and a closing line with the counts. */
final class Suite {
    /** One case; it fails by throwing anything. */
    interface Case {
        void run() throws Exception;
    }

    private record Named(String name, Case body) {
    }

    private final List<Named> cases = new ArrayList<>();

    void add(String name, Case body) {
        cases.add(new Named(name, body));
    }

    /** Runs every case and returns how many failed. */
    int run() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(cases.size());
        List<Future<Boolean>> results = new ArrayList<>();
        for (Named c : cases) {
            results.add(pool.submit(() -> one(c)));
        }
        int failed = 0;
        for (Future<Boolean> result : results) {
            if (!result.get()) {
                failed++;
            }
        }
        pool.shutdown();
        System.out.println(cases.size() - failed + " passed, " + failed + " failed");
        return failed;
    }

    private static boolean one(Named c) {
        long start = System.nanoTime();
        String error = null;
        try {
            c.body().run();
        } catch (Throwable e) {
            StringWriter text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            error = text.toString();
        }
        String took = String.format(Locale.ROOT, "%.1f s", (System.nanoTime() - start) / 1e9);
        System.out.println(error == null
            ? "ok      " + c.name() + " (" + took + ")"
            : "FAILED  " + c.name() + " (" + took + "): " + error);
        return error == null;
    }
}
