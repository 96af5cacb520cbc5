package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// record is what a tool shows of one.
type record struct {
	partition int
	offset    int64
	key       string
	headers   []string // name=value, in order
	value     string
}

func (r record) coordinates() string { return fmt.Sprintf("%d@%d", r.partition, r.offset) }

func (r record) result(t *testing.T) *schemas.Result {
	t.Helper()
	res, _, err := schemas.DecodeResult([]byte(r.value))
	must(t, err)
	return res
}

// tool runs a program to its end and returns what it has written to stdout.
func tool(t *testing.T, stdin string, cmd *exec.Cmd) string {
	t.Helper()
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return out.String()
}

// kcatSend produces lines of key:value with headers of name=value.
func kcatSend(t *testing.T, topic string, headers []string, lines []string, options ...string) {
	t.Helper()
	args := append([]string{"-P", "-b", strings.Join(kafka.Addrs(), ","), "-t", topic, "-K:"}, options...)
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	tool(t, strings.Join(lines, "\n")+"\n", exec.CommandContext(t.Context(), "kcat", args...))
}

// kcatRead reads a topic from its beginning to its end.
func kcatRead(t *testing.T, topic, isolation string) (out []record) {
	t.Helper()
	text := tool(t, "", exec.CommandContext(t.Context(), "kcat", "-C", "-J", "-q", "-b", strings.Join(kafka.Addrs(), ","), "-t", topic,
		"-X", "isolation.level="+isolation, "-o", "beginning", "-e"))
	for line := range strings.Lines(text) {
		var r struct {
			Partition int
			Offset    int64
			Key       string
			Payload   string
			Headers   []string // name, value, name, value
		}
		must(t, json.Unmarshal([]byte(line), &r))
		rec := record{partition: r.Partition, offset: r.Offset, key: r.Key, value: r.Payload}
		for i := 0; i+1 < len(r.Headers); i += 2 {
			rec.headers = append(rec.headers, r.Headers[i]+"="+r.Headers[i+1])
		}
		out = append(out, rec)
	}
	return out
}

// consoleSend produces with Kafka's console producer.
func consoleSend(t *testing.T, topic string, headers []string, lines []string) {
	t.Helper()
	var head strings.Builder
	for i, h := range headers {
		if i > 0 {
			head.WriteString(",")
		}
		name, value, _ := strings.Cut(h, "=")
		head.WriteString(name + "~" + value)
	}
	var in strings.Builder
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ":")
		in.WriteString(head.String() + "\t" + key + "\t" + value + "\n")
	}
	tool(t, in.String(), kafka.Java(t.Context(), "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", strings.Join(kafka.Addrs(), ","), "--topic", topic,
		"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "headers.key.separator=~"))
}

// consoleRead reads a topic with Kafka's console consumer, which ends when
// nothing has come for a while.
func consoleRead(t *testing.T, topic, isolation string) (out []record) {
	t.Helper()
	text := tool(t, "", kafka.Java(t.Context(), "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--bootstrap-server", strings.Join(kafka.Addrs(), ","), "--topic", topic, "--from-beginning",
		"--isolation-level", isolation, "--timeout-ms", "8000",
		"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true",
		"--formatter-property", "print.key=true", "--formatter-property", "print.headers=true"))
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 5)
		if len(parts) != 5 {
			t.Fatalf("the console consumer printed %q", line)
		}
		rec := record{key: parts[3], value: parts[4]}
		var err error
		rec.partition, err = strconv.Atoi(strings.TrimPrefix(parts[0], "Partition:"))
		must(t, err)
		rec.offset, err = strconv.ParseInt(strings.TrimPrefix(parts[1], "Offset:"), 10, 64)
		must(t, err)
		for h := range strings.SplitSeq(parts[2], ",") {
			if name, value, ok := strings.Cut(h, ":"); ok {
				rec.headers = append(rec.headers, name+"="+value)
			}
		}
		out = append(out, rec)
	}
	return out
}

// groupPartition is a line of kafka-consumer-groups --describe.
type groupPartition struct{ committed, end, lag int64 }

// describe asks Kafka's own tool what a group has committed, by partition.
func describe(t *testing.T, group, topic string) map[int]groupPartition {
	t.Helper()
	text := tool(t, "", kafka.Java(t.Context(), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
		"--bootstrap-server", strings.Join(kafka.Addrs(), ","), "--describe", "--group", group))
	out := map[int]groupPartition{}
	var columns []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "GROUP" {
			columns = fields
			continue
		}
		if len(columns) == 0 || len(fields) < len(columns) || fields[0] != group {
			continue
		}
		number := func(column string) int64 {
			for i, name := range columns {
				if name == column {
					n, err := strconv.ParseInt(fields[i], 10, 64)
					if err != nil {
						return -1
					}
					return n
				}
			}
			t.Fatalf("there is no column %s in\n%s", column, text)
			return 0
		}
		if fields[1] != topic {
			t.Errorf("the group has offsets of %s", fields[1])
			continue
		}
		out[int(number("PARTITION"))] = groupPartition{number("CURRENT-OFFSET"), number("LOG-END-OFFSET"), number("LAG")}
	}
	return out
}
