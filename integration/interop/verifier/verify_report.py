#!/usr/bin/env python3
"""Verifies an audit report of Countersign against the topics, by what its documents say.

It shares nothing with Countersign but the JSON Schemas: language, Kafka client and
reading of docs/audit.md are its own. It makes the digest of a report again from the
records, holds the window's offsets and the numbers of records against the topics, and
checks the signature. What the report finds and measures it leaves alone.

    verify_report.py REPORT --brokers HOST:PORT[,...] [--signature FILE --key LINE]

Exit codes: 0 it is as the report says, 1 something differs, 2 it could not be run.
"""

import argparse
import base64
import hashlib
import json
import operator
import re
import struct
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, TopicPartition
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
except ImportError as err:  # Python's own 1 would say that something differs
    print(f"it could not be verified: {err}", file=sys.stderr)
    sys.exit(2)

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
PATIENCE = 60.0  # seconds without anything from the brokers
MOST_BYTES, MOST_LEVELS, MOST_PAGES = 1 << 20, 64, 4096
Headers = list[tuple[str, bytes | None]]
Place = tuple[int, int]  # partition and offset of a request
# Where a name is not UTF-8 the client returns None and leaves an error pending, which
# Python may notice anywhere later; a call by methodcaller always looks for one.
headers_of = operator.methodcaller("headers")


class CannotRun(Exception):
    """What keeps a verdict from being reached."""


# The hashes.


def sized(data: bytes) -> bytes:
    return struct.pack(">q", len(data)) + data


def maybe(data: bytes | None) -> bytes:
    return b"\x00" if data is None else b"\x01" + sized(data)


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds since 1970
    key: bytes | None
    value: bytes | None
    headers: Headers

    def leaf(self) -> bytes:
        h = hashlib.sha256(b"\x00countersign record 1" + sized(self.topic.encode()))
        h.update(struct.pack(">qqq", self.partition, self.offset, self.timestamp) + maybe(self.key) + maybe(self.value))
        h.update(struct.pack(">q", len(self.headers)))
        for name, value in self.headers:
            h.update(sized(name.encode()) + maybe(value))
        return h.digest()


def merkle(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


@dataclass
class Tree:
    """The records of the window in one partition."""

    topic: str
    partition: int
    offsets: list[int] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    def add(self, r: Record) -> None:
        self.offsets.append(r.offset)
        self.leaves.append(r.leaf())

    def leaf(self) -> bytes:
        numbers = struct.pack(">qqqq", self.partition, len(self.offsets), self.offsets[0], self.offsets[-1])
        return hashlib.sha256(b"\x00countersign tree 1" + sized(self.topic.encode()) + numbers + merkle(self.leaves)).digest()

    def as_reported(self) -> dict[str, Any]:
        n, block = len(self.leaves), 1
        while n // block > 63:
            block *= 2
        blocks = [{"first": self.offsets[i], "hash": merkle(self.leaves[i : i + block]).hex()} for i in range(0, n, block)]
        return {
            "topic": self.topic, "partition": self.partition, "records": n, "first": self.offsets[0], "last": self.offsets[-1],
            "root": merkle(self.leaves).hex(), "block": block, "blocks": blocks,
        }  # fmt: skip


# Reading topics.


class Topics:
    def __init__(self, brokers: str) -> None:
        # The client demands the name of a group; nothing is joined and nothing committed.
        self.consumer = Consumer(
            {
                "bootstrap.servers": brokers, "group.id": "verify-report", "isolation.level": "read_committed",
                "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error",
                "fetch.wait.max.ms": 50,
            }
        )  # fmt: skip

    def partitions(self, topic: str) -> list[int]:
        found = self.consumer.list_topics(topic, timeout=PATIENCE).topics[topic]
        if found.error is not None:
            raise CannotRun(f"{topic}: {found.error.str()}")
        return sorted(found.partitions)

    def held(self, topic: str, partition: int) -> tuple[int, int]:
        return self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE)

    def at(self, topic: str, partition: int, nanoseconds: int) -> int:
        """The first record that is not before a time, as Kafka finds it, or the log's end."""
        asked = TopicPartition(topic, partition, max(nanoseconds // 10**6, 0))
        (found,) = self.consumer.offsets_for_times([asked], timeout=PATIENCE)
        if found.error is not None:
            raise CannotRun(f"{topic}/{partition}: {found.error.str()}")
        return found.offset if found.offset >= 0 else self.held(topic, partition)[1]

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        low, high = self.held(topic, partition)
        start, end = max(start, low), min(end, high)
        if start >= end:
            return
        self.consumer.assign([TopicPartition(topic, partition, start)])
        while (m := self.consumer.poll(PATIENCE)) is not None:
            error = m.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise CannotRun(f"{topic}/{partition}: {error.str()}")
            if error is not None or m.offset() >= end:
                return
            kind, timestamp = m.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                raise CannotRun(f"{topic}: the brokers set its timestamps, and the digest is over the producers', which this client does not show")
            try:
                headers = list(headers_of(m) or [])
            except (SystemError, UnicodeDecodeError):
                raise CannotRun(f"{topic}/{partition}@{m.offset()}: the name of a header is not UTF-8, and this client does not show its bytes") from None
            yield Record(topic, partition, m.offset(), timestamp, m.key(), m.value(), headers)
        raise CannotRun(f"{topic}/{partition}: nothing came for {PATIENCE:.0f} seconds")


# Reading events.


def pattern(_: Any, wanted: str, text: Any, __: Any) -> Iterator[ValidationError]:
    # In a JSON Schema $ is the very end; in Python a line feed may follow it.
    if isinstance(text, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), text):
        yield ValidationError(f"{text!r} does not match {wanted!r}")


formats = FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def is_time(text: Any) -> bool:
    return not isinstance(text, str) or nanoseconds(text) is not None


def schema(name: str) -> Draft202012Validator:
    kind = validators.extend(Draft202012Validator, {"pattern": pattern})
    return kind(json.loads((SCHEMAS / f"{name}.v1.schema.json").read_text()), format_checker=formats)


def nanoseconds(text: str) -> int:
    """A time exactly; datetime knows nothing below a microsecond."""
    parts = re.fullmatch(r"(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
    if parts is None:
        raise ValueError(f"{text!r} is no time")
    second, fraction, zone = parts.groups()
    whole = datetime.fromisoformat(second + zone.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (whole.days * 86400 + whole.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))


def strict_json(data: bytes) -> Any:
    """I-JSON: no member twice, no half of a surrogate pair."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a name is there twice")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    value = json.loads(data.decode(), object_pairs_hook=members, parse_constant=constant)
    json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates
    return value


def levels(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(levels, inside), default=0)


def result_id(group: str, topic: str, place: Place, page: int) -> str:
    data = b"countersign result 1" + sized(group.encode()) + sized(topic.encode()) + struct.pack(">qqq", *place, page)
    return hashlib.sha256(data).hexdigest()[:32]


class Answers:
    """Tells which request of the window a record answers."""

    def __init__(self, window: dict[str, Any]) -> None:
        self.window, self.topic, self.group = window, window["topics"]["requests"], window["group"]
        self.result_schema, self.letter_schema = schema("result"), schema("deadletter")
        self.letter_headers = self.letter_schema.schema["properties"]

    def covers(self, place: Place) -> bool:
        return any(s["partition"] == place[0] and s["from"] <= place[1] < s["to"] for s in self.window["requests"])

    def result(self, r: Record) -> bool:
        if len(r.value or b"") > MOST_BYTES:
            return False
        try:
            said = strict_json(r.value or b"")
            if levels(said) > MOST_LEVELS or not self.result_schema.is_valid(said):
                return False
        except (ValueError, RecursionError):  # what is too deep for Python has too many levels
            return False
        place = (int(said["request"]["partition"]), int(said["request"]["offset"]))
        if said["request"]["topic"] != self.topic or not self.covers(place):
            return False
        pages = range(1)
        if "page" in said:
            pages = range(int(said["page"]["index"]), int(said["page"]["index"]) + 1)
        elif said.get("operation") == "list" and said.get("error", {}).get("class") == "too_large":
            pages = range(MOST_PAGES)
        return any(said["id"] == result_id(self.group, self.topic, place, page) for page in pages)

    def letter(self, r: Record) -> bool:
        if sum(len(name.encode()) + len(value or b"") for name, value in r.headers) > MOST_BYTES:
            return False
        try:
            said = {name: (value or b"").decode() for name, value in dict(r.headers).items() if name in self.letter_headers}
        except UnicodeDecodeError:
            return False
        if not self.letter_schema.is_valid(said) or said["countersign-topic"] != self.topic:
            return False
        return self.covers((int(said["countersign-partition"]), int(said["countersign-offset"])))


# Verifying.


class Verifier:
    def __init__(self, report: dict[str, Any], topics: Topics) -> None:
        self.report, self.window, self.topics = report, report["window"], topics
        self.differences: list[str] = []
        self.stamps: list[int] = []

    def differ(self, text: str) -> None:
        self.differences.append(text)

    def run(self) -> list[str]:
        self.contradictions()
        if self.differences:
            return self.differences  # nobody can tell what such a report covers
        names = self.window["topics"]
        requests = self.requests(names["requests"])
        answers = Answers(self.window)
        results = self.answers(names["results"], self.window.get("results"), answers.result)
        letters = self.answers(names["deadletters"], self.window.get("dead_letters"), answers.letter)
        self.compare([t for t in requests + results + letters if t.leaves])
        counts = self.report["counts"]
        for what, said, trees in [
            ("window.records", self.window["records"], requests),
            ("counts.requests", counts["requests"], requests),
            ("counts.results", counts["results"], results),
            ("counts.dead_letters and dead_letters_also", counts["dead_letters"] + counts["dead_letters_also"], letters),
        ]:
            is_now = sum(len(t.leaves) for t in trees)
            if said != is_now:
                self.differ(f"{what}: the report has {said}, the topics have {is_now}")
        for what, pick in [("first", min), ("last", max)]:
            said = self.window[what]
            if (said and nanoseconds(said)) != (pick(self.stamps) * 10**6 if self.stamps else None):
                self.differ(f"window.{what} is not the timestamp of a request: {said}")
        return self.differences

    def contradictions(self) -> None:
        """What no report has, whatever is in the topics: it would hide what is not covered."""
        w, is_open = self.window, self.report["counts"]["findings"]["open_window"] > 0
        if w["closed"] == is_open or (w["closed"] and w["not_ended"]):
            self.differ("window.closed contradicts window.not_ended or counts.findings.open_window")
        if w["by_offsets"] and (w["from"] or w["to"]):
            self.differ("window.by_offsets: it has times, too")
        endless = w["to"] is None and not w["by_offsets"]
        for name in ("results", "dead_letters"):
            due = endless or not w["closed"]
            if (name in w) != due:
                self.differ(f"window.{name} is there exactly where the window is open or has no end")
        for name in ("requests", "worked_off", "results", "dead_letters"):
            if name not in w:
                continue
            found = [s["partition"] for s in w[name]]
            some = w["by_offsets"] and name in ("requests", "worked_off")
            if found != (sorted(set(found)) if some else list(range(len(found)))) or not found:
                self.differ(f"window.{name}: a partition is left out, there twice or in another place")
            if any(s["to"] < s["from"] for s in w[name]):
                self.differ(f"window.{name}: a span ends before it begins")

    def requests(self, topic: str) -> list[Tree]:
        """The requests of the report's spans; those that should not be there, or are missing there, differ."""
        w, trees = self.window, []
        spans = {s["partition"]: s for s in w["requests"]}
        for partition in self.topics.partitions(topic):
            span = spans.pop(partition, None)
            if span is None and (w["by_offsets"] or w["to"] is None or w["not_ended"]):
                continue  # not asked for, or the partition is newer than the report
            low, _ = self.topics.held(topic, partition)
            start, end = (span["from"], span["to"]) if span else (low, low)
            due_start, due_end = start, end
            if not w["by_offsets"]:
                due_start = self.topics.at(topic, partition, nanoseconds(w["from"])) if w["from"] else low
                if w["to"] and not w["not_ended"]:
                    due_end = self.topics.at(topic, partition, nanoseconds(w["to"]))
            trees.append(tree := Tree(topic, partition))
            wrong = []
            for r in self.topics.read(topic, partition, min(start, due_start), max(end, due_end)):
                covered, due = start <= r.offset < end, due_start <= r.offset < due_end
                if covered != due:
                    wrong.append((r.offset, "belongs to the window and is not covered" if due else "is covered and does not belong to the window"))
                if covered:
                    tree.add(r)
                    self.stamps.append(r.timestamp)
            if wrong:
                self.differ(f"{topic}/{partition}: the request at {wrong[0][0]} {wrong[0][1]}, the first of {len(wrong)}")
        for partition in spans:
            self.differ(f"{topic} has no partition {partition}")
        return trees

    def answers(self, topic: str, spans: list[dict[str, int]] | None, belongs: Any) -> list[Tree]:
        w, trees = self.window, []
        until = nanoseconds(w["answers_until"]) if w["answers_until"] else None
        skew = round(w["skew"] * 10**9)
        since = None
        if w["from"] or w["by_offsets"]:
            since = min([nanoseconds(w["from"])] if w["from"] else [], default=None)
            if self.stamps:
                since = min(s for s in (since, min(self.stamps) * 10**6) if s is not None)
        ends = {s["partition"]: s["to"] for s in spans} if spans is not None else None
        for partition in self.topics.partitions(topic):
            if ends is not None and partition not in ends:
                continue  # it is newer than the report
            low, end = self.topics.held(topic, partition)
            start = low if since is None else self.topics.at(topic, partition, since - skew)
            if until is not None:
                end = self.topics.at(topic, partition, until + skew)
            if ends is not None:
                end = ends[partition]
            trees.append(tree := Tree(topic, partition))
            for r in self.topics.read(topic, partition, start, end):
                if (until is None or r.timestamp * 10**6 < until) and belongs(r):
                    tree.add(r)
        return trees

    def compare(self, trees: list[Tree]) -> None:
        covered = self.report["covered"]
        said = {(t["topic"], t["partition"]): t for t in covered["trees"]}
        now = {(t.topic, t.partition): t for t in trees}
        if list(said) != list(now) or len(said) != len(covered["trees"]):
            self.differ("covered.trees: other partitions, or in another order, than the topics have records of the window in")
        for name, tree in now.items():
            if name in said:
                self.compare_tree(said[name], tree)
            else:
                self.differ(f"{name[0]}/{name[1]} differs between the offsets {tree.offsets[0]} and {tree.offsets[-1]}: the report covers none")
        for name in said.keys() - now.keys():
            self.differ(f"{name[0]}/{name[1]} differs between the offsets {said[name]['first']} and {said[name]['last']}: no record is there")
        if covered["root"].lower() != merkle([t.leaf() for t in trees]).hex():
            self.differ("covered.root is not the root of the topics' trees")

    def compare_tree(self, said: dict[str, Any], tree: Tree) -> None:
        where, now = f"{tree.topic}/{tree.partition}", tree.as_reported()
        for name in ("records", "first", "last", "root", "block"):
            if str(said[name]).lower() != str(now[name]):
                self.differ(f"{where}: {name} is {now[name]}, the report has {said[name]}")
        # By the report's own bounds, so that a record too many or too few moves no other block.
        firsts = [b["first"] for b in said["blocks"]]
        bounds = list(zip(firsts, [*firsts[1:], said["last"] + 1], said["blocks"], strict=True))
        for first, end, block in bounds:
            low = -1 if block is said["blocks"][0] else first
            high = 1 << 63 if block is said["blocks"][-1] else end
            leaves = [leaf for offset, leaf in zip(tree.offsets, tree.leaves, strict=True) if low <= offset < high]
            if merkle(leaves).hex() != block["hash"].lower():
                self.differ(f"{where} differs between the offsets {first} and {end - 1}")
        if len(said["blocks"]) != len(now["blocks"]) or any(a["first"] != b["first"] for a, b in zip(said["blocks"], now["blocks"], strict=False)):
            self.differ(f"{where}: the blocks begin elsewhere")


def check_signature(report: bytes, note: bytes, key_line: str) -> str | None:
    """What is wrong with a signature by that key; None: nothing."""
    try:
        name, key_id, key = key_line.strip().split("+", 2)
        raw = base64.b64decode(key, validate=True)
        made_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if len(raw) != 33 or raw[0] != 1 or made_id.hex() != key_id.lower():
            raise ValueError
    except ValueError:
        raise CannotRun("the public key is no line NAME+ID+KEY of Ed25519") from None
    try:
        text, signatures = note.decode().split("\n\n", 1)
        text += "\n"
        for line in signatures.splitlines():
            dash, by, encoded = line.split(" ")
            signature = base64.b64decode(encoded, validate=True)
            if (dash, by, signature[:4]) == ("—", name, made_id):
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], text.encode())
                break
        else:
            return f"the signature: none is by {name}+{key_id}"
    except InvalidSignature:
        return "the signature: it is not of this text"
    except ValueError:
        return "the signature is no signed note"
    digest = base64.b64encode(hashlib.sha256(report).digest()).decode()
    root = json.loads(report)["covered"]["root"].lower()
    if text != f"countersign audit report 1\n{digest}\n{root}\n":
        return "the signature: it is of another report"
    return None


def verify(args: argparse.Namespace) -> list[str]:
    if (args.signature is None) != (args.key is None):
        raise CannotRun("--signature and --key go together")
    data = args.report.read_bytes()
    try:
        report = strict_json(data)
        problem = next(schema("audit").iter_errors(report), None)
    except (ValueError, RecursionError) as err:
        return [f"the report is no JSON: {err}"]
    if problem is not None:
        return [f"the report breaks its schema at {problem.json_path}: {problem.message[:200]}"]
    differences = Verifier(report, Topics(args.brokers)).run()
    if args.signature is not None and (wrong := check_signature(data, args.signature.read_bytes(), args.key)):
        differences.append(wrong)
    return differences


def main() -> int:
    flags = argparse.ArgumentParser(description="Verifies an audit report of Countersign against the topics.")
    flags.add_argument("report", type=Path)
    flags.add_argument("--brokers", required=True)
    flags.add_argument("--signature", type=Path)
    flags.add_argument("--key", help="the line NAME+ID+KEY")
    try:
        differences = verify(flags.parse_args())
        for text in differences or ["it is as the report says"]:
            print(text)
    except (CannotRun, KafkaException, OSError) as err:
        print(f"it could not be verified: {err}", file=sys.stderr)
        return 2
    except Exception:  # a fault of this program is no verdict
        print("it could not be verified:", file=sys.stderr)
        traceback.print_exc()
        return 2
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
