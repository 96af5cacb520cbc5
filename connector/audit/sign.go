package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign/countersign/internal/secret"
)

// signedTitle is the first line of what is signed. It keeps a signature of a
// report from being one of anything else that the same key signs.
const signedTitle = "countersign audit report 1"

// GenerateKey makes an ed25519 key pair, each half a line of text as signed
// notes have it (golang.org/x/mod/sumdb/note). The name says whose key it is and
// is a part of both; it has no white space and no plus sign. Who has the private
// half can sign as that name. The error is an *Error of CodeInvalid.
func GenerateKey(name string) (private, public string, err error) {
	unfit := func(r rune) bool { return r == '+' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if name == "" || strings.ContainsFunc(name, unfit) || strings.ContainsRune(name, unicode.ReplacementChar) {
		return "", "", invalid("a key's name is printable text without white space and plus signs, not %q", name)
	}
	private, public, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", invalid("no key could be made: %w", err)
	}
	return private, public, nil
}

// Sign is a signed note about a report, given as the bytes of its file: the text
// of the signature's file. Its three lines are signedTitle, the SHA-256 of the
// bytes in base64, and the root of what the report covers in hexadecimal. So the
// note alone tells what was signed. The key is a private one of GenerateKey, with
// or without a line's end. Errors are *Error of CodeInvalid and never show the key.
func Sign(report []byte, key secret.String) ([]byte, error) {
	root, err := coveredRoot(report)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(key.Reveal()))
	if err != nil {
		// note's own words are about another kind of key.
		return nil, invalid("the private key is none, or damaged: a line that begins with PRIVATE+KEY+ is needed")
	}
	digest := sha256.Sum256(report)
	text := fmt.Sprintf("%s\n%s\n%s\n", signedTitle, base64.StdEncoding.EncodeToString(digest[:]), root)
	sig, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, invalid("the report can't be signed: %w", err)
	}
	return sig, nil
}

// VerifySignature checks that sig is a note about these very bytes of a report,
// signed by the key whose public half is given. Other signatures of the note are
// not looked at. Nil: it is. CodeSignature: it is not. CodeInvalid: the public key
// can't be used.
func VerifySignature(report, sig []byte, publicKey string) error {
	verifier, err := note.NewVerifier(strings.TrimSpace(publicKey))
	if err != nil {
		// The text that was given may be the private half.
		return invalid("the public key is none, or damaged: a line NAME+HASH+KEY is needed")
	}
	unsigned := func(format string, args ...any) error {
		return &Error{Code: CodeSignature, Err: fmt.Errorf(format, args...)}
	}
	n, err := note.Open(sig, note.VerifierList(verifier))
	if err != nil {
		if missing := new(note.UnverifiedNoteError); errors.As(err, &missing) {
			return unsigned("it is not signed with the key %s+%08x", verifier.Name(), verifier.KeyHash())
		}
		return unsigned("the signature is damaged, or of something else: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != signedTitle {
		return unsigned("what is signed is no audit report")
	}
	digest := sha256.Sum256(report)
	if lines[1] != base64.StdEncoding.EncodeToString(digest[:]) {
		return unsigned("the report is not the one that was signed: its SHA-256 differs")
	}
	if root, err := coveredRoot(report); err != nil || lines[2] != root.String() {
		return unsigned("the signed root is not what the report covers")
	}
	return nil
}

// coveredRoot reads out of a report what it covers, and nothing else.
func coveredRoot(report []byte) (Hash, error) {
	var r struct {
		Version string `json:"version"`
		Covered struct {
			Root *Hash `json:"root"`
		} `json:"covered"`
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return Hash{}, invalid("the report can't be read: %w", err)
	}
	if r.Version == "" || r.Covered.Root == nil {
		return Hash{}, invalid("it is no audit report: version or covered.root is missing")
	}
	return *r.Covered.Root, nil
}
