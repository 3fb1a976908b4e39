#!/usr/bin/env bash
# Runs the Java suite against a server of its own. MANSIO: path of the binary (default: built from the main module).
# SLOW=1: also the case that outlives a lease of 60 s. Needs a JDK 17 or newer and Maven.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
build
mvn --quiet --batch-mode -Dstyle.color=never compile dependency:build-classpath -Dmdep.outputFile=target/classpath
serve
# The SDK writes a log below the home folder.
timeout 300 java -Duser.home="$mansio_dir" -Xmx1g -cp "target/classes:$(cat target/classpath)" io.mansio.test.Main
