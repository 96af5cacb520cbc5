package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// tokenBytes is what the API's own tokens have: 32 hexadecimal digits.
const tokenBytes = 16

// tokenFromFile returns the token that the file holds. Where there is no such
// file it makes one, with a random token that only its owner can read: whoever
// starts an emulator and a connector together needs no secret beforehand.
func tokenFromFile(path string) (_ string, err error) {
	held, err := os.ReadFile(path)
	if err == nil {
		token := strings.TrimSpace(string(held))
		if token == "" {
			return "", usagef("--auth-token-file %s is empty", path)
		}
		return token, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--auth-token-file: %w", err)
	}
	random := make([]byte, tokenBytes)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	token := hex.EncodeToString(random)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("--auth-token-file: %w", err)
	}
	_, err = file.WriteString(token + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("--auth-token-file: %w", errors.Join(err, os.Remove(path)))
	}
	return token, nil
}
