package connector_test

import (
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
)

const (
	anAccountSID = "AC00000000000000000000000000000001"
	anAPIKey     = "SK00000000000000000000000000000001"
)

func validConfig() connector.Config {
	return connector.Config{
		Kafka: connector.KafkaConfig{Brokers: []string{"localhost:9092"}},
		Accounts: map[string]connector.AccountConfig{
			"main": {AccountSID: anAccountSID, AuthToken: configSecret},
		},
	}
}

// onMain changes the account of a configuration.
func onMain(change func(*connector.AccountConfig)) func(*connector.Config) {
	return func(c *connector.Config) {
		account := c.Accounts["main"]
		change(&account)
		c.Accounts["main"] = account
	}
}

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*connector.Config){
		"zero values":    func(*connector.Config) {},
		"IPv6 broker":    func(c *connector.Config) { c.Kafka.Brokers = []string{"[2001:db8::1]:9092"} },
		"group's colon":  func(c *connector.Config) { c.Kafka.Group = "eu:verify/1" },
		"highest drain":  func(c *connector.Config) { c.DrainTimeout = 22500*time.Millisecond - 1 },
		"smallest span":  func(c *connector.Config) { c.Window.Span = 1 },
		"highest margin": func(c *connector.Config) { c.Kafka.LeaseMargin = 22500*time.Millisecond - 1 },
		"short session": func(c *connector.Config) {
			c.Kafka.SessionTimeout, c.DrainTimeout = 2*time.Second, 500*time.Millisecond
		},
		"short rebalance": func(c *connector.Config) { c.Kafka.RebalanceTimeout, c.DrainTimeout = 6*time.Second, time.Second },
		"longest settle":  func(c *connector.Config) { c.Recovery.Settle = 15 * time.Minute },
		"shortest key":    func(c *connector.Config) { c.Recovery.MarkerKey = "äöüß0123456789ab" },
		"all accepted": func(c *connector.Config) {
			c.Recovery.Accept = []connector.Acceptance{"partition_count", "lost_offsets", "recreated_topic"}
		},
		"at least once":  func(c *connector.Config) { c.Delivery = "at_least_once" },
		"largest span":   func(c *connector.Config) { c.Window.Span = 16384 },
		"equal backoffs": func(c *connector.Config) { c.Retry.Base, c.Retry.Cap = time.Second, time.Second },
		"one more attempt than failures": func(c *connector.Config) {
			c.Retry.Attempts = 6
		},
		"API key": onMain(func(a *connector.AccountConfig) {
			a.AuthToken, a.APIKey, a.APISecret = "", anAPIKey, configSecret
		}),
		"edge alone":        onMain(func(a *connector.AccountConfig) { a.Edge = "dublin" }),
		"region and edge":   onMain(func(a *connector.AccountConfig) { a.Region, a.Edge = "ie1", "dublin" }),
		"https anywhere":    onMain(func(a *connector.AccountConfig) { a.BaseURL = "https://proxy.example.com:8443/v" }),
		"http to 127.1.2.3": onMain(func(a *connector.AccountConfig) { a.BaseURL = "http://127.1.2.3:80" }),
		"http to ::1":       onMain(func(a *connector.AccountConfig) { a.BaseURL = "http://[::1]:80/" }),
		"http to localhost": onMain(func(a *connector.AccountConfig) { a.BaseURL = "http://localhost" }),
		"ratio of one":      onMain(func(a *connector.AccountConfig) { a.Breaker.Ratio = 1 }),
		"slow rate":         onMain(func(a *connector.AccountConfig) { a.Rate.PerSecond = 0.001 }),
		"two accounts": func(c *connector.Config) {
			c.Accounts["eu.second_one-2"] = c.Accounts["main"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := validConfig()
			change(&cfg)
			if got := cfg.Validate(); got != nil {
				t.Errorf("violations: %+v", got)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	baseURL := func(u string) func(*connector.Config) {
		return onMain(func(a *connector.AccountConfig) { a.BaseURL = u })
	}
	for name, tc := range map[string]struct {
		change func(*connector.Config)
		path   string // of the only violation
	}{
		"no broker":            {func(c *connector.Config) { c.Kafka.Brokers = nil }, "kafka.brokers"},
		"broker without port":  {func(c *connector.Config) { c.Kafka.Brokers[0] = "localhost" }, "kafka.brokers[0]"},
		"control character":    {func(c *connector.Config) { c.Kafka.Group = "a\x00b" }, "kafka.group"},
		"long group":           {func(c *connector.Config) { c.Kafka.Group = strings.Repeat("g", 250) }, "kafka.group"},
		"long topic":           {func(c *connector.Config) { c.Kafka.Topics.Results = strings.Repeat("t", 250) }, "kafka.topics.results"},
		"same topic":           {func(c *connector.Config) { c.Kafka.Topics.DeadLetters = "challenge.results" }, "kafka.topics.deadletters"},
		"requests as ledger":   {func(c *connector.Config) { c.Kafka.Topics.Ledger = "challenge.requests" }, "kafka.topics.ledger"},
		"results as positions": {func(c *connector.Config) { c.Kafka.Topics.Positions = "challenge_results" }, "kafka.topics.positions"},
		"ledger as positions":  {func(c *connector.Config) { c.Kafka.Topics.Positions = "challenge.ledger" }, "kafka.topics.positions"},
		"short transaction":    {func(c *connector.Config) { c.Kafka.TransactionTimeout = time.Second - 1 }, "kafka.transaction_timeout"},
		"long transaction":     {func(c *connector.Config) { c.Kafka.TransactionTimeout = 15*time.Minute + 1 }, "kafka.transaction_timeout"},
		"half of the session":  {func(c *connector.Config) { c.Kafka.LeaseMargin = 22500 * time.Millisecond }, "kafka.lease_margin"},
		"half of the rebalance": {func(c *connector.Config) {
			c.Kafka.RebalanceTimeout, c.Kafka.LeaseMargin = 40*time.Second, 20*time.Second
		}, "kafka.lease_margin"},
		"no margin":           {func(c *connector.Config) { c.Kafka.LeaseMargin = -1 }, "kafka.lease_margin"},
		"unknown delivery":    {func(c *connector.Config) { c.Delivery = "at_most_once" }, "delivery"},
		"odd deployment":      {func(c *connector.Config) { c.Recovery.Deployment = "a b" }, "recovery.deployment"},
		"short key":           {func(c *connector.Config) { c.Recovery.MarkerKey = configSecret + "3" }, "recovery.marker_key"},
		"negative settle":     {func(c *connector.Config) { c.Recovery.Settle = -1 }, "recovery.settle"},
		"long settle":         {func(c *connector.Config) { c.Recovery.Settle = 15*time.Minute + 1 }, "recovery.settle"},
		"negative apart":      {func(c *connector.Config) { c.Recovery.Apart = -1 }, "recovery.apart"},
		"many pages":          {func(c *connector.Config) { c.Recovery.MaxPages = 1001 }, "recovery.max_pages"},
		"unknown acceptance":  {func(c *connector.Config) { c.Recovery.Accept = []connector.Acceptance{"lost_offsets", "all"} }, "recovery.accept[1]"},
		"short horizon":       {func(c *connector.Config) { c.Ledger.Horizon = time.Second - 1 }, "ledger.horizon"},
		"long horizon":        {func(c *connector.Config) { c.Ledger.Horizon = 168*time.Hour + 1 }, "ledger.horizon"},
		"negative entries":    {func(c *connector.Config) { c.Ledger.Entries = -1 }, "ledger.entries"},
		"unknown guard":       {func(c *connector.Config) { c.Guard.Mode = "yes" }, "guard.mode"},
		"short period":        {func(c *connector.Config) { c.Guard.Period = time.Second - 1 }, "guard.period"},
		"negative limit":      {func(c *connector.Config) { c.Guard.Factor.Pending = -1 }, "guard.factor.pending"},
		"guard without limit": {func(c *connector.Config) { c.Guard.Mode = connector.GuardDryRun }, "guard"},
		"period over horizon": {func(c *connector.Config) {
			c.Guard = connector.GuardConfig{Mode: connector.GuardOn, Period: 2*time.Hour + 1, Identity: connector.GuardLimits{Creates: 1}}
		}, "guard.period"},
		"pending over horizon": {func(c *connector.Config) {
			c.Ledger.Horizon = time.Hour - 1
			c.Guard = connector.GuardConfig{Mode: connector.GuardOn, Identity: connector.GuardLimits{Pending: 1}}
		}, "guard.period"},
		"half the session":     {func(c *connector.Config) { c.DrainTimeout = 22500 * time.Millisecond }, "drain_timeout"},
		"negative drain":       {func(c *connector.Config) { c.DrainTimeout = -1 }, "drain_timeout"},
		"wide span":            {func(c *connector.Config) { c.Window.Span = 16385 }, "window.span"},
		"attempts as failures": {func(c *connector.Config) { c.Retry.Attempts = 5 }, "retry.attempts"},
		"no attempts":          {func(c *connector.Config) { c.Retry.Attempts = 1001 }, "retry.attempts"},
		"cap below base":       {func(c *connector.Config) { c.Retry.Cap = 100 * time.Millisecond }, "retry.cap"},
		"no accounts":          {func(c *connector.Config) { c.Accounts = nil }, "accounts"},
		"account's name": {func(c *connector.Config) {
			c.Accounts = map[string]connector.AccountConfig{"a__b": c.Accounts["main"]}
		}, "accounts.a__b"},
		"long name": {func(c *connector.Config) {
			c.Accounts = map[string]connector.AccountConfig{strings.Repeat("a", 65): c.Accounts["main"]}
		}, `accounts["` + strings.Repeat("a", 64) + `…"]`},
		"no credentials":   {onMain(func(a *connector.AccountConfig) { a.AuthToken = "" }), "accounts.main"},
		"both credentials": {onMain(func(a *connector.AccountConfig) { a.APISecret = configSecret }), "accounts.main"},
		"key alone":        {onMain(func(a *connector.AccountConfig) { a.AuthToken, a.APIKey = "", anAPIKey }), "accounts.main.api_secret"},
		"secret alone":     {onMain(func(a *connector.AccountConfig) { a.AuthToken, a.APISecret = "", "s" }), "accounts.main.api_key"},
		"SID of a key":     {onMain(func(a *connector.AccountConfig) { a.AccountSID = anAPIKey }), "accounts.main.account_sid"},
		"SID and a line":   {onMain(func(a *connector.AccountConfig) { a.AccountSID += "\n" }), "accounts.main.account_sid"},
		"rate of NaN":      {onMain(func(a *connector.AccountConfig) { a.Rate.PerSecond = math.NaN() }), "accounts.main.rate.per_second"},
		"infinite rate":    {onMain(func(a *connector.AccountConfig) { a.Rate.PerSecond = math.Inf(1) }), "accounts.main.rate.per_second"},
		"ratio of NaN":     {onMain(func(a *connector.AccountConfig) { a.Breaker.Ratio = math.NaN() }), "accounts.main.breaker.ratio"},
		"region's case":    {onMain(func(a *connector.AccountConfig) { a.Region = "IE1" }), "accounts.main.region"},
		"region with dots": {onMain(func(a *connector.AccountConfig) { a.Region = "ie1.evil" }), "accounts.main.region"},
		"edge's dash":      {onMain(func(a *connector.AccountConfig) { a.Edge = "dublin-" }), "accounts.main.edge"},
		"long call":        {onMain(func(a *connector.AccountConfig) { a.Timeout = time.Hour }), "accounts.main.timeout"},
		"http":             {baseURL("http://example.com"), "accounts.main.base_url"},
		"http to a name":   {baseURL("http://127.0.0.1.example.com"), "accounts.main.base_url"},
		"http to 0.0.0.0":  {baseURL("http://0.0.0.0"), "accounts.main.base_url"},
		"relative URL":     {baseURL("/v2"), "accounts.main.base_url"},
		"no scheme":        {baseURL("localhost:8080"), "accounts.main.base_url"},
		"other scheme":     {baseURL("ftp://localhost"), "accounts.main.base_url"},
		"no URL":           {baseURL("http://[::1"), "accounts.main.base_url"},
		"no host":          {baseURL("https://:443"), "accounts.main.base_url"},
		"user in the URL":  {baseURL("https://" + configSecret + "@example.com"), "accounts.main.base_url"},
		"query in the URL": {baseURL("https://example.com?a=" + configSecret), "accounts.main.base_url"},
		"fragment":         {baseURL("https://example.com#" + configSecret), "accounts.main.base_url"},
		"region beside it": {onMain(func(a *connector.AccountConfig) { a.BaseURL, a.Region = "https://example.com", "ie1" }), "accounts.main.base_url"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := validConfig()
			tc.change(&cfg)
			got := cfg.Validate()
			if len(got) != 1 || got[0].Path != tc.path || got[0].Message == "" {
				t.Fatalf("violations: %+v, want one at %s", got, tc.path)
			}
			if strings.Contains(got[0].Message, configSecret) {
				t.Errorf("the message shows a secret: %s", got[0].Message)
			}
		})
	}
}

// Every number and every duration has a bound on both sides.
func TestValidateBoundsEveryNumber(t *testing.T) {
	walkConfig(reflect.TypeFor[connector.Config](), nil, func(path []string, leaf reflect.Type) {
		for _, extreme := range []float64{-1, math.MaxInt64} {
			cfg := validConfig()
			v := reach(reflect.ValueOf(&cfg).Elem(), path)
			switch {
			case v.CanInt() && extreme < 0:
				v.value.SetInt(-1)
			case v.CanInt():
				v.value.SetInt(math.MaxInt64)
			case v.CanFloat():
				v.value.SetFloat(extreme)
			default:
				continue
			}
			v.store()
			found := false
			for _, violation := range cfg.Validate() {
				found = found || violation.Path == strings.ReplaceAll(strings.Join(path, "."), "*", "main")
			}
			if !found {
				t.Errorf("%s of %v is accepted", strings.Join(path, "."), extreme)
			}
		}
	})
}

func TestWithDefaults(t *testing.T) {
	accepting := func() connector.Config {
		cfg := validConfig()
		cfg.Recovery.Accept = []connector.Acceptance{connector.AcceptLostOffsets}
		return cfg
	}
	cfg := accepting()
	once := cfg.WithDefaults()
	if !reflect.DeepEqual(once, once.WithDefaults()) {
		t.Error("applied twice it changes something more")
	}
	if !reflect.DeepEqual(cfg, accepting()) {
		t.Error("it changes its receiver")
	}
	once.Kafka.Brokers[0] = "changed:1"
	once.Recovery.Accept[0] = "changed"
	maps.DeleteFunc(once.Accounts, func(string, connector.AccountConfig) bool { return true })
	if !reflect.DeepEqual(cfg, accepting()) {
		t.Error("the copy shares memory with the original")
	}
}

// The margin never eats a short membership up.
func TestDefaultLeaseMargin(t *testing.T) {
	for _, tc := range []struct{ session, rebalance, want time.Duration }{
		{0, 0, 5 * time.Second},
		{20 * time.Second, 0, 5 * time.Second},
		{12 * time.Second, 0, 3 * time.Second},
		{0, 4 * time.Second, time.Second},
	} {
		cfg := validConfig()
		cfg.Kafka.SessionTimeout, cfg.Kafka.RebalanceTimeout = tc.session, tc.rebalance
		if got := cfg.WithDefaults().Kafka.LeaseMargin; got != tc.want {
			t.Errorf("at a session of %s and a rebalance of %s the margin is %s, want %s", tc.session, tc.rebalance, got, tc.want)
		}
	}
}

func TestDefaultDeployment(t *testing.T) {
	cfg := validConfig()
	cfg.Kafka.Group = "eu"
	if got := cfg.WithDefaults().Recovery.Deployment; got != "eu" {
		t.Errorf("the deployment is %q, want the group", got)
	}
	cfg.Recovery.Deployment = "eu-blue"
	if got := cfg.WithDefaults().Recovery.Deployment; got != "eu-blue" {
		t.Errorf("the deployment is %q, want the one that was set", got)
	}
}

func TestDefaultBurst(t *testing.T) {
	for rate, want := range map[float64]int{0: 1, 0.2: 1, 1: 1, 7.9: 7, 1e6: 1e6, 1e300: 1e6, -5: 1} {
		cfg := validConfig()
		onMain(func(a *connector.AccountConfig) { a.Rate.PerSecond = rate })(&cfg)
		if got := cfg.WithDefaults().Accounts["main"].Rate.Burst; got != want {
			t.Errorf("at %v a second the burst is %d, want %d", rate, got, want)
		}
	}
}
