package emulator

// A challenge's push can be sent again this often.
const maxNotifications = 3

type notificationView struct {
	SID          string `json:"sid"`
	AccountSID   string `json:"account_sid"`
	ServiceSID   string `json:"service_sid"`
	EntitySID    string `json:"entity_sid"`
	Identity     string `json:"identity"`
	ChallengeSID string `json:"challenge_sid"`
	DateCreated  stamp  `json:"date_created"`
	Priority     string `json:"priority"`
	TTL          int    `json:"ttl"`
}

func (x *exchange) noPlatform() *apiError {
	err := &apiError{status: 400, code: codeNoPlatform, message: "Cannot resend push notifications to 'none' platform"}
	if x.e.cfg.Rules.NoPlatformAs403 {
		err.status = 403
		x.decided("no-platform-as-403")
	}
	return err
}

func createNotification(x *exchange) (answer, *apiError) {
	v, err := x.form("Ttl")
	if err != nil {
		return answer{}, err
	}
	ttl, err := integer(v, "Ttl", 0, 300, 300)
	if err != nil {
		return answer{}, err
	}
	ent, c, _, err := x.challenge()
	if err != nil {
		return answer{}, err
	}
	now := x.e.cfg.Now()
	ent.mu.Lock()
	defer ent.mu.Unlock()
	switch err := c.open(now); {
	case err != nil:
		return answer{}, err
	case c.factor.push == nil:
		return answer{}, invalid("ChallengeSid", "is not of a push challenge")
	case c.factor.push.platform == platformNone:
		return answer{}, x.noPlatform()
	case c.notifications >= maxNotifications:
		return answer{}, tooMany(codeNotifications, "Push notifications limit for a Challenge reached")
	}
	c.notifications++
	return answer{status: 201, body: notificationView{
		SID: newSID("NT"), AccountSID: ent.key.account, ServiceSID: ent.key.service, EntitySID: ent.sid,
		Identity: ent.identity, ChallengeSID: c.sid, DateCreated: stamp(now), Priority: "high", TTL: ttl,
	}}, nil
}
