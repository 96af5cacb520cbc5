package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/secret"
)

const value = "hunter2hunter2"

func TestNeverShown(t *testing.T) {
	s := secret.String(value)
	holder := struct{ Token secret.String }{s}
	shown := map[string]string{}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		shown["value "+verb] = fmt.Sprintf(verb, s)
		shown["struct "+verb] = fmt.Sprintf(verb, holder)
		shown["pointer "+verb] = fmt.Sprintf(verb, &holder)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "token", s, "holder", holder)
	shown["slog"] = logged.String()
	j, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(j)
	y, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown["yaml"] = string(y)
	for how, text := range shown {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestRevealAndDecode(t *testing.T) {
	var holder struct{ Token secret.String }
	if err := yaml.Unmarshal([]byte("token: "+value), &holder); err != nil {
		t.Fatal(err)
	}
	if holder.Token.Reveal() != value {
		t.Error("the decoded secret is not the value that was written")
	}
	if holder.Token.IsZero() || !secret.String("").IsZero() || secret.String("").String() != "" {
		t.Error("IsZero must tell an empty secret from a set one")
	}
}
