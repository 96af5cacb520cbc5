package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign/countersign/internal/device"
)

// phoneState is what makes a later process the same phone.
type phoneState struct {
	BaseURL    string `json:"base_url"`
	ServiceSID string `json:"service_sid"`
	Identity   string `json:"identity"`

	FactorSID     string `json:"factor_sid"`
	AccountSID    string `json:"account_sid"`
	EntitySID     string `json:"entity_sid"`
	CredentialSID string `json:"credential_sid"`
	PrivateKey    string `json:"private_key"` // PKCS #8, PEM
}

// openPhone enrols, or takes the phone that the file holds. An empty path keeps
// nothing.
func openPhone(ctx context.Context, cfg device.Config, path string) (*device.Device, error) {
	if path == "" {
		return device.Enrol(ctx, cfg)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		return attachPhone(cfg, path, text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--state: %w", err)
	}
	// What can't be kept is not enrolled: the factor would be nobody's.
	file, err := os.CreateTemp(filepath.Dir(path), ".phone-*") // readable by its owner alone
	if err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	phone, err := device.Enrol(ctx, cfg)
	if err == nil {
		err = savePhone(file, cfg, phone)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("--state: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return phone, nil
}

func attachPhone(cfg device.Config, path string, text []byte) (*device.Device, error) {
	var s phoneState
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("--state %s does not hold a phone: %w", path, err)
	}
	if s.BaseURL != cfg.BaseURL || s.ServiceSID != cfg.ServiceSID || s.Identity != cfg.Identity {
		return nil, fmt.Errorf("--state %s holds the phone of another identity, service or API", path)
	}
	block, _ := pem.Decode([]byte(s.PrivateKey))
	if block == nil {
		return nil, fmt.Errorf("--state %s holds no private key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("--state %s holds a private key that can't be used", path)
	}
	return device.Attach(cfg, key, device.Factor{
		SID: s.FactorSID, AccountSID: s.AccountSID, EntitySID: s.EntitySID, CredentialSID: s.CredentialSID,
	})
}

func savePhone(file *os.File, cfg device.Config, phone *device.Device) error {
	der, err := x509.MarshalPKCS8PrivateKey(phone.PrivateKey())
	if err != nil {
		return err
	}
	factor := phone.Factor()
	text, err := json.MarshalIndent(phoneState{
		BaseURL: cfg.BaseURL, ServiceSID: cfg.ServiceSID, Identity: cfg.Identity,
		FactorSID: factor.SID, AccountSID: factor.AccountSID, EntitySID: factor.EntitySID, CredentialSID: factor.CredentialSID,
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}, "", "  ")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	return err
}
