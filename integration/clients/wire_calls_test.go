package clients

import (
	"context"
	"strings"
	"time"

	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/secret"
)

// The names that both clients are given.
var (
	wireFactor    = "YF" + strings.Repeat("0a", 16)
	wireChallenge = "YC" + strings.Repeat("0b", 16)
	wirePayload   = "eyJ0eXAi.eyJzdGF0dXMi.c2ln-_natural=="
)

// A token of the API's form has no dot; this one shows what would become of it.
const dottedToken = "DN1.25a"

var wireExpires = time.Date(2026, 3, 4, 6, 30, 0, 0, time.FixedZone("", 3600))

// wireCall is one call by both clients.
type wireCall struct {
	name   string
	about  string // what both are given, for the document
	theirs func(*verify.ApiService) error
	ours   func(context.Context, *challenge.Client) error
}

func theirCreate(p *verify.CreateChallengeParams) func(*verify.ApiService) error {
	return func(api *verify.ApiService) error {
		_, err := api.CreateChallenge(service, identity, p)
		return err
	}
}

func ourCreate(p challenge.CreateParams) func(context.Context, *challenge.Client) error {
	return func(ctx context.Context, c *challenge.Client) error {
		_, err := c.Create(ctx, service, identity, p)
		return err
	}
}

func theirUpdate(p *verify.UpdateChallengeParams) func(*verify.ApiService) error {
	return func(api *verify.ApiService) error {
		_, err := api.UpdateChallenge(service, identity, wireChallenge, p)
		return err
	}
}

func ourUpdate(p challenge.UpdateParams) func(context.Context, *challenge.Client) error {
	return func(ctx context.Context, c *challenge.Client) error {
		_, err := c.Update(ctx, service, identity, wireChallenge, p)
		return err
	}
}

func theirList(p *verify.ListChallengeParams) func(*verify.ApiService) error {
	return func(api *verify.ApiService) error {
		_, err := api.ListChallenge(service, identity, p)
		return err
	}
}

func ourList(p read.ListParams) func(context.Context, *challenge.Client) error {
	return func(ctx context.Context, c *challenge.Client) error {
		for _, err := range c.All(ctx, service, identity, p) {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

var wireCalls = []wireCall{
	{
		"create push, full", "factor, message, two fields, hidden details and an expiration date in a zone, with characters that are escaped",
		theirCreate((&verify.CreateChallengeParams{}).SetFactorSid(wireFactor).SetDetailsMessage(`Sign in & "go" + 100 %?`).
			SetDetailsFields([]any{
				map[string]string{"label": "Where", "value": "Zürich <HB>"}, map[string]string{"label": "When", "value": "now"},
			}).
			SetHiddenDetails(map[string]string{"ip": "10.0.0.1", "note": "a & b"}).SetExpirationDate(wireExpires)),
		ourCreate(challenge.CreateParams{
			FactorSID: wireFactor, Message: `Sign in & "go" + 100 %?`,
			Fields:        []read.Field{{Label: "Where", Value: "Zürich <HB>"}, {Label: "When", Value: "now"}},
			HiddenDetails: map[string]string{"ip": "10.0.0.1", "note": "a & b"}, ExpirationDate: wireExpires,
		}),
	},
	{
		"create push, minimal", "factor and message",
		theirCreate((&verify.CreateChallengeParams{}).SetFactorSid(wireFactor).SetDetailsMessage("Sign in?")),
		ourCreate(challenge.CreateParams{FactorSID: wireFactor, Message: "Sign in?"}),
	},
	{
		"create totp", "factor and code",
		theirCreate((&verify.CreateChallengeParams{}).SetFactorSid(wireFactor).SetAuthPayload("012345")),
		ourCreate(challenge.CreateParams{FactorSID: wireFactor, AuthPayload: secret.String("012345")}),
	},
	{
		"create, hidden details as text", "hidden details that the caller holds as the JSON text `{\"ip\":\"10.0.0.1\"}`",
		theirCreate((&verify.CreateChallengeParams{}).SetFactorSid(wireFactor).SetHiddenDetails(`{"ip":"10.0.0.1"}`)),
		ourCreate(challenge.CreateParams{FactorSID: wireFactor, HiddenDetails: map[string]string{"ip": "10.0.0.1"}}),
	},
	{
		"create, identity with a slash", "the identity `user/0001`, which is no identity of the API",
		func(api *verify.ApiService) error {
			_, err := api.CreateChallenge(service, "user/0001", (&verify.CreateChallengeParams{}).SetFactorSid(wireFactor))
			return err
		},
		func(ctx context.Context, c *challenge.Client) error {
			_, err := c.Create(ctx, service, "user/0001", challenge.CreateParams{FactorSID: wireFactor})
			return err
		},
	},
	{
		"fetch", "",
		func(api *verify.ApiService) error {
			_, err := api.FetchChallenge(service, identity, wireChallenge)
			return err
		},
		func(ctx context.Context, c *challenge.Client) error {
			_, err := c.Fetch(ctx, service, identity, wireChallenge)
			return err
		},
	},
	{
		"list, every filter", "factor, status, order, page size 20",
		theirList((&verify.ListChallengeParams{}).SetFactorSid(wireFactor).SetStatus("pending").SetOrder("desc").SetPageSize(20)),
		ourList(read.ListParams{FactorSID: wireFactor, Status: read.StatusPending, Order: read.OrderDesc, PageSize: 20}),
	},
	{"list, no filter", "", theirList(nil), ourList(read.ListParams{})},
	{"list, limit 3", "a limit, no page size", theirList((&verify.ListChallengeParams{}).SetLimit(3)), ourList(read.ListParams{Limit: 3})},
	{
		"list, follow-up page", "a page size of 1; the first answer names a next page",
		theirList((&verify.ListChallengeParams{}).SetPageSize(1)), ourList(read.ListParams{PageSize: 1}),
	},
	{
		"list, page by token", "page 1 with the token `" + dottedToken + "`",
		func(api *verify.ApiService) error {
			_, err := api.PageChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(2), dottedToken, "1")
			return err
		},
		func(ctx context.Context, c *challenge.Client) error {
			page := 1
			_, err := c.List(ctx, service, identity, read.ListParams{PageSize: 2, PageToken: dottedToken, Page: &page})
			return err
		},
	},
	{
		"update with AuthPayload", "a payload with characters that are escaped",
		theirUpdate((&verify.UpdateChallengeParams{}).SetAuthPayload(wirePayload)),
		ourUpdate(challenge.UpdateParams{AuthPayload: secret.String(wirePayload)}),
	},
	{
		"update with Metadata", "",
		theirUpdate((&verify.UpdateChallengeParams{}).SetMetadata(map[string]string{"os": "Android", "app": "1.0"})),
		ourUpdate(challenge.UpdateParams{Metadata: map[string]string{"os": "Android", "app": "1.0"}}),
	},
	{"update with nothing", "", theirUpdate(&verify.UpdateChallengeParams{}), ourUpdate(challenge.UpdateParams{})},
}
