package emulator

import "net/url"

type entityView struct {
	SID         string      `json:"sid"`
	Identity    string      `json:"identity"`
	AccountSID  string      `json:"account_sid"`
	ServiceSID  string      `json:"service_sid"`
	DateCreated stamp       `json:"date_created"`
	DateUpdated stamp       `json:"date_updated"`
	URL         string      `json:"url"`
	Links       entityLinks `json:"links"`
}

type entityLinks struct {
	Factors    string `json:"factors"`
	NewFactors string `json:"new_factors"`
	Challenges string `json:"challenges"`
}

// path is the entity's path below the base URL.
func (ent *entity) path() string {
	return "/v2/Services/" + ent.key.service + "/Entities/" + url.PathEscape(ent.identity)
}

// listPath is the same in page URLs, which the API writes in lower case where
// case does not matter.
func (ent *entity) listPath() string {
	return "/v2/Services/" + ent.key.service + "/Entities/" + url.PathEscape(ent.key.identity)
}

func (x *exchange) viewEntity(ent *entity) entityView {
	path := x.baseURL() + ent.path()
	return entityView{
		SID: ent.sid, Identity: ent.identity, AccountSID: ent.key.account, ServiceSID: ent.key.service,
		DateCreated: stamp(ent.created), DateUpdated: stamp(ent.created), URL: path,
		Links: entityLinks{path + "/Factors", path + "/Factors", path + "/Challenges"},
	}
}

func createEntity(x *exchange) (answer, *apiError) {
	v, err := x.form("Identity")
	if err != nil {
		return answer{}, err
	}
	identity := v.Get("Identity")
	if !isIdentity(identity) {
		return answer{}, invalid("Identity", "is not 8 to 64 dash-separated alphanumerics")
	}
	ent, made := x.e.store.add(x.e.store.key(x.account.sid, x.route.service, identity), identity, x.e.cfg.Now())
	if !made {
		code := codeEntityExists
		if x.e.cfg.Rules.EntityExists60304 {
			code = codeEntityExistsToo
			x.decided("entity-exists-60304")
		}
		return answer{}, &apiError{status: 409, code: code, message: "Entity already exists"}
	}
	return answer{status: 201, body: x.viewEntity(ent)}, nil
}

func fetchEntity(x *exchange) (answer, *apiError) {
	ent, err := x.entity()
	if err != nil {
		return answer{}, err
	}
	return answer{status: 200, body: x.viewEntity(ent)}, nil
}

func deleteEntity(x *exchange) (answer, *apiError) {
	if !x.e.store.remove(x.key(x.account.sid)) {
		return answer{}, x.notFound(codeEntityMissing)
	}
	return answer{status: 204}, nil
}
