package connector

import "sync"

// complaint is a warning about something that is tried again and again: it is
// news once, and again when it is about something else. The zero value has warned of
// nothing. It is safe for concurrent use.
type complaint struct {
	mu   sync.Mutex
	last string
}

// isNews reports that err is not what it was the last time.
func (c *complaint) isNews(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := err.Error()
	news := text != c.last
	c.last = text
	return news
}

// over forgets what was warned of, once the attempt has succeeded.
func (c *complaint) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = ""
}
