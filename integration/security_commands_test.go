package integration

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// TestCommandsLeastRights: send, tail and redrive with exactly the rights of
// docs/operations.md, and without each of them. They know the brokers from the
// environment.
func TestCommandsLeastRights(t *testing.T) {
	g := newGuarded(t)
	for _, name := range []string{"send", "tail", "redrive"} {
		t.Run(name, func(t *testing.T) {
			g := &guarded{t: t, addrs: g.addrs, mutual: g.mutual, ca: g.ca, dir: g.dir, jars: g.jars}
			operator := g.operator()
			_, all := g.commandRights(g.world(false), name)
			for i := -1; i < len(all); i++ {
				w := g.world(false)
				g.makeTopics(w)
				w.bury(0, 0)
				w.bury(1, 5) // which is parked
				args, rights := g.commandRights(w, name)
				if i < 0 {
					allow(t, operator, rights...)
				} else {
					allow(t, operator, slices.Delete(slices.Clone(rights), i, i+1)...)
				}
				out, err := g.command(t, args...)
				switch {
				case i < 0 && err != nil:
					t.Errorf("with all: %v\n%s", err, out)
				case i >= 0 && (err == nil || !strings.Contains(out, names(rights, i))):
					t.Errorf("without %v: %v, want %q in\n%s", rights[i], err, names(rights, i), out)
				}
			}
		})
	}
}

// commandRights are a command and what it needs, as docs/operations.md has it.
func (g *guarded) commandRights(w *world, name string) (args []string, rights []acl) {
	const topic = kmsg.ACLResourceTypeTopic
	read, write, create := kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate
	group, journal, parking := w.group+"-redrive", w.group+".redrives", w.group+".parked"
	switch name {
	case "send":
		file := g.write("request.json", []byte(`{"id":"a"}`))
		return []string{"send", "--topic", w.topics.Requests, "--no-validate", file}, []acl{{write, topic, w.topics.Requests, false}}
	case "tail":
		return []string{"tail", "--topic", w.topics.Results}, []acl{{read, topic, w.topics.Results, false}}
	default:
		args := []string{
			"redrive", "--dead-letters-topic", w.topics.DeadLetters, "--requests-topic", w.topics.Requests,
			"--journal-topic", journal, "--parking-topic", parking, "--group", group,
		}
		return args, []acl{
			{read, topic, w.topics.DeadLetters, false},
			{write, topic, w.topics.Requests, false},
			{create, topic, journal, false},
			{read, topic, journal, false},
			{write, topic, journal, false},
			{create, topic, parking, false},
			{write, topic, parking, false},
			{read, kmsg.ACLResourceTypeGroup, group, false},
			{write, kmsg.ACLResourceTypeTransactionalId, group + "-" + journal + "-0", false},
		}
	}
}

// bury writes a dead letter of a request that may be redriven.
func (w *world) bury(i, redrives int) {
	w.t.Helper()
	r := w.create(i)
	value, err := r.Encode()
	must(w.t, err)
	at := time.Now().Add(-time.Minute).UTC()
	d := schemas.DeadLetter{
		Class: "throttled", RequestID: r.ID, HasResult: true, Redrivable: true, Attempts: 3, Redrives: redrives, At: at,
		Coordinates: schemas.Coordinates{Topic: w.topics.Requests, Partition: 0, Offset: int64(i), Timestamp: at},
	}
	must(w.t, w.kafka.Produce(w.t.Context(), []kafka.Message{{Topic: w.topics.DeadLetters, Key: []byte(r.Identity), Value: value, Headers: d.Headers()}}))
}

// command runs the built command as the connector's user.
func (g *guarded) command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bin, err := binary()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = append(os.Environ(),
		"COUNTERSIGN_KAFKA__BROKERS="+strings.Join(g.addrs, ","), "COUNTERSIGN_KAFKA__TLS__ENABLED=true", "COUNTERSIGN_KAFKA__TLS__CA_FILE="+g.path("ca.pem"),
		"COUNTERSIGN_KAFKA__SASL__MECHANISM=SCRAM-SHA-512", "COUNTERSIGN_KAFKA__SASL__USERNAME="+connectorUser, "COUNTERSIGN_KAFKA__SASL__PASSWORD="+brokerSecret)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}
