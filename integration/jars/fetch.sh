#!/usr/bin/env bash
# Brings the jars of Apache Kafka from Maven Central and prints the folder that
# holds them. It needs Java and Maven, and does nothing where they are there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=4.2.0 # as integration/cluster has it
libs="$PWD/.bin/kafka-$version/libs"
# The mark names what was asked for, so that another list of jars is brought anew.
mark="$libs/.complete-$(sha256sum integration/jars/pom.xml | cut -c1-12)"
if [[ ! -e "$mark" ]]; then
	rm -rf -- "$libs"
	mkdir -p "$libs"
	mvn --quiet --batch-mode --file integration/jars/pom.xml "-Dkafka.version=$version" \
		dependency:copy-dependencies "-DoutputDirectory=$libs" >&2
	touch "$mark"
fi
echo "$libs"
