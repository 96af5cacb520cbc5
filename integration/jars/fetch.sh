#!/usr/bin/env bash
# Brings the jars of Apache Kafka from Maven Central and prints the folder that
# holds them. It needs Java and Maven, and does nothing where they are there already.
#
#   integration/jars/fetch.sh [version]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${1:-${KAFKA_VERSION:-4.2.0}}
libs="$PWD/.bin/kafka-$version/libs"
if [[ ! -e "$libs/.complete" ]]; then
	mkdir -p "$libs"
	mvn --quiet --batch-mode --file integration/jars/pom.xml "-Dkafka.version=$version" \
		dependency:copy-dependencies "-DoutputDirectory=$libs" >&2
	touch "$libs/.complete"
fi
echo "$libs"
