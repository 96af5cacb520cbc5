package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign/countersign/internal/secret"
)

// reportFile is a report's file as a test signs it.
func reportFile(t testing.TB) []byte {
	t.Helper()
	data, err := json.MarshalIndent(&Report{Version: ReportVersion, Tool: "test", Covered: Digest{Root: Hash{1, 2, 3}}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func newKey(t testing.TB, name string) (private secret.String, public string) {
	t.Helper()
	skey, vkey, err := GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return secret.String(skey), vkey
}

func wantCode(t testing.TB, err error, code ErrorCode) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("%v, want code %q", err, code)
	}
}

func TestSignature(t *testing.T) {
	report := reportFile(t)
	private, public := newKey(t, "auditor.example")
	sig, err := Sign(report, private+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifySignature(report, sig, public+"\n"); err != nil {
		t.Error(err)
	}
	// What docs say of the file holds without our code.
	lines := strings.Split(string(sig), "\n")
	if lines[0] != "countersign audit report 1" || len(lines[1]) != 44 || lines[2] != "010203"+strings.Repeat("0", 58) || lines[3] != "" ||
		!strings.HasPrefix(lines[4], "— auditor.example ") {
		t.Errorf("the note is\n%s", sig)
	}
	again, err := Sign(report, private)
	if err != nil || !bytes.Equal(again, sig) {
		t.Errorf("signed again it differs: %v", err)
	}
	// A second signature of somebody else takes nothing away.
	_, otherPublic := newKey(t, "else")
	wantCode(t, VerifySignature(report, sig, otherPublic), CodeSignature)
	otherPrivate, otherPublic := newKey(t, "else")
	signer, err := note.NewSigner(otherPrivate.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	verifier, _ := note.NewVerifier(public)
	opened, err := note.Open(sig, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(opened, signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{public, otherPublic} {
		if err := VerifySignature(report, both, key); err != nil {
			t.Error(err)
		}
	}
}

// Who reads docs/report-signature.md can check a signature without our code and
// without package note.
func TestSignatureAsDocumented(t *testing.T) {
	report := reportFile(t)
	private, public := newKey(t, "auditor.example")
	sig, err := Sign(report, private)
	if err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(strings.TrimPrefix(public, "auditor.example+"), "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != 33 || key[0] != 1 {
		t.Fatalf("the key is %x, %v", key, err)
	}
	id := sha256.Sum256(append([]byte("auditor.example\n"), key...))
	text, lines, found := strings.Cut(string(sig), "\n\n")
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(lines, "— auditor.example ")))
	if !found || err != nil || len(signature) != 68 || !bytes.Equal(signature[:4], id[:4]) {
		t.Fatalf("the signature is %x, %v", signature, err)
	}
	if !ed25519.Verify(key[1:], []byte(text+"\n"), signature[4:]) {
		t.Error("it is not that of the text")
	}
	digest := sha256.Sum256(report)
	want := "countersign audit report 1\n" + base64.StdEncoding.EncodeToString(digest[:]) + "\n010203" + strings.Repeat("0", 58)
	if text != want {
		t.Errorf("the text is %q", text)
	}
}

func TestSignatureRefuses(t *testing.T) {
	report := reportFile(t)
	private, public := newKey(t, "auditor")
	_, sameName := newKey(t, "auditor")
	_, otherName := newKey(t, "auditor2")
	sig, err := Sign(report, private)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(text string) []byte {
		out, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	body := strings.Split(string(sig), "\n")
	tampered := bytes.Replace(report, []byte(`"test"`), []byte(`"best"`), 1)
	name, rest, _ := strings.Cut(public, "+")
	for what, c := range map[string]struct {
		report, sig []byte
		key         string
		code        ErrorCode
	}{
		"report changed":          {tampered, sig, public, CodeSignature},
		"report longer":           {append(bytes.Clone(report), ' '), sig, public, CodeSignature},
		"report empty":            {nil, sig, public, CodeSignature},
		"hash changed":            {report, bytes.Replace(sig, []byte(body[1]), []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 1), public, CodeSignature},
		"root changed":            {report, bytes.Replace(sig, []byte("010203"), []byte("010204"), 1), public, CodeSignature},
		"title changed":           {report, bytes.Replace(sig, []byte("report 1"), []byte("report 2"), 1), public, CodeSignature},
		"another key":             {report, sig, sameName, CodeSignature},
		"key of another name":     {report, sig, otherName, CodeSignature},
		"the key, renamed":        {report, sig, name + "x+" + rest, CodeInvalid},
		"the private key":         {report, sig, private.Reveal(), CodeInvalid},
		"no key":                  {report, sig, "", CodeInvalid},
		"no signature":            {report, nil, public, CodeSignature},
		"garbage":                 {report, []byte("\x00garbage"), public, CodeSignature},
		"a note of another thing": {report, foreign("go.sum database tree\n1\n2\n"), public, CodeSignature},
		"too many lines":          {report, foreign(strings.Join(body[:3], "\n") + "\nmore\n"), public, CodeSignature},
		"another root, signed":    {report, foreign(body[0] + "\n" + body[1] + "\n" + strings.Repeat("0", 64) + "\n"), public, CodeSignature},
	} {
		t.Run(what, func(t *testing.T) {
			err := VerifySignature(c.report, c.sig, c.key)
			wantCode(t, err, c.code)
			showsNothing(t, err, private)
		})
	}
}

// showsNothing fails where an error shows a private key or half of one.
func showsNothing(t *testing.T, err error, private secret.String) {
	t.Helper()
	half := private.Reveal()[len(private)-20:]
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, half) {
		t.Errorf("the error shows the private key: %s", text)
	}
}

func TestSignRefuses(t *testing.T) {
	report := reportFile(t)
	private, public := newKey(t, "auditor")
	for what, c := range map[string]struct {
		report string
		key    secret.String
	}{
		"public key":  {string(report), secret.String(public)},
		"damaged key": {string(report), private[:len(private)-8] + "AAAAAAA="},
		"cut key":     {string(report), private[:len(private)-8]},
		"no key":      {string(report), ""},
		"no report":   {"", private},
		"no JSON":     {"{", private},
		"no root":     {`{"version":"1.0"}`, private},
		"null root":   {`{"version":"1.0","covered":{"root":null}}`, private},
		"odd root":    {`{"version":"1.0","covered":{"root":"00"}}`, private},
		"no version":  {`{"covered":{"root":"` + strings.Repeat("0", 64) + `"}}`, private},
	} {
		t.Run(what, func(t *testing.T) {
			sig, err := Sign([]byte(c.report), c.key)
			wantCode(t, err, CodeInvalid)
			showsNothing(t, err, private)
			if sig != nil {
				t.Errorf("it signed\n%s", sig)
			}
		})
	}
	for _, name := range []string{"", "a b", "a+b", "a\n", "a\x00", "\xff"} {
		if _, _, err := GenerateKey(name); CodeOf(err) != CodeInvalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// No note but the one that was made is taken for a signature, whatever it is.
func FuzzVerifySignature(f *testing.F) {
	report := reportFile(f)
	private, public := newKey(f, "auditor")
	sig, err := Sign(report, private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(report, sig)
	f.Add(report, bytes.Replace(sig, []byte("010203"), []byte("010204"), 1))
	f.Add([]byte("{}"), []byte("a\n\n— auditor AAAA\n"))
	f.Fuzz(func(t *testing.T, changed, signature []byte) {
		err := VerifySignature(changed, signature, public)
		if err == nil && !bytes.Equal(changed, report) {
			t.Errorf("%q is taken for the signed report", changed)
		}
		if code := CodeOf(err); err != nil && code != CodeSignature {
			t.Errorf("code %q: %v", code, err)
		}
		showsNothing(t, err, private)
	})
}
