package table

import (
	"net"
	"net/url"
	"strings"
)

// Account returns the name of the storage account that the settings name, or "" if
// they name none. An endpoint without a name in its host, as Azurite has, has the
// name in its path
// (https://learn.microsoft.com/azure/storage/common/storage-use-azurite).
func (s Settings) Account() string {
	endpoint := s.ServiceURI
	if s.ConnectionString != "" {
		c, err := parseConnectionString(s.ConnectionString)
		if err != nil {
			return ""
		}
		if c.account != "" {
			return c.account
		}
		endpoint = c.endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	if host := u.Hostname(); net.ParseIP(host) == nil && strings.Contains(host, ".") {
		name, _, _ := strings.Cut(host, ".")
		return name
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return name
}
