package table

import "testing"

func TestAccountName(t *testing.T) {
	const key = "AccountKey=AAAA;" // of no account
	for _, test := range []struct {
		settings Settings
		want     string
	}{
		{Settings{}, ""},
		{Settings{ServiceURI: "https://contosostorage.table.core.windows.net"}, "contosostorage"},
		{Settings{ServiceURI: "https://contosostorage.table.core.chinacloudapi.cn:443/"}, "contosostorage"},
		{Settings{ServiceURI: "https://192.0.2.7:10002/devstoreaccount1/"}, "devstoreaccount1"},
		{Settings{ServiceURI: "https://localhost:10002/devstoreaccount1"}, "devstoreaccount1"},
		{Settings{ServiceURI: ":"}, ""},
		{Settings{ConnectionString: "UseDevelopmentStorage=true"}, "devstoreaccount1"},
		{Settings{ConnectionString: "AccountName=contosostorage;" + key}, "contosostorage"},
		{Settings{ConnectionString: "AccountName=contosostorage;" + key + "TableEndpoint=https://other.table.core.windows.net"}, "contosostorage"},
		{Settings{ConnectionString: "TableEndpoint=https://contosostorage.table.core.windows.net;SharedAccessSignature=sv=2024-11-04&ss=t&srt=so&sp=rl&se=2999-01-01&sig=AAAA"}, "contosostorage"},
		{Settings{ConnectionString: "x"}, ""},
	} {
		if got := test.settings.Account(); got != test.want {
			t.Errorf("the account of %+v is %q, want %q", test.settings, got, test.want)
		}
	}
}
