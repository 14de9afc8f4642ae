package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// shelf is a stand-in for Table Storage that answers each request after the same time, and
// as many at once as come: a service that is far away and never busy. It knows what the
// measured writers ask for: insertions, transactions that insert and change rows on
// condition of their ETags, single rows, and ranges of rows. archive is one that has more rows.
type shelf struct {
	delay    time.Duration
	requests atomic.Int64

	mu     sync.Mutex
	rows   map[string]shelved // by table and keys
	writes int                // for ETags
}

// shelved is a row: its version, and what was written into it, the first whole and then what
// changed. Nobody waits for these to be merged who does not read them.
type shelved struct {
	etag   string
	bodies [][]byte
}

// rowChange is one request to a row.
type rowChange struct {
	insert   bool
	merge    bool   // of a row that is there, instead of replacing it
	row      string // table and keys
	body     []byte
	ifMatch  string
	rejected string // the error code of the service; "" if the change can be made
}

// startShelf returns a shelf and its connection string.
func startShelf(delay time.Duration) (s *shelf, connection string, stop func()) {
	s = &shelf{delay: delay, rows: map[string]shelved{}}
	server := httptest.NewServer(s)
	return s, "DefaultEndpointsProtocol=http;AccountName=contoso;AccountKey=AAAA;TableEndpoint=" + server.URL + "/contoso;", server.Close
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	time.Sleep(s.delay)
	path := strings.TrimPrefix(r.URL.Path, "/contoso/")
	switch {
	case path == "$batch":
		s.batch(w, r.Header.Get("Content-Type"), body)
	case path == "Tables":
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && strings.Contains(path, "()"):
		s.list(w, strings.TrimSuffix(path, "()"), r.URL.Query())
	case r.Method == http.MethodGet:
		m := point.FindStringSubmatch(path)
		if m == nil {
			refuse(w, http.StatusNotImplemented, "NotImplemented", 0)
			return
		}
		s.mu.Lock()
		row, ok := s.rows[m[1]+" "+m[2]+" "+m[3]]
		s.mu.Unlock()
		row.answer(w, ok)
	default:
		c, err := read(path, r.Header, body, r.Method)
		if err != nil {
			refuse(w, http.StatusNotImplemented, "NotImplemented", 0)
			return
		}
		if etags := s.make([]rowChange{c}); etags == nil {
			refuse(w, http.StatusConflict, "EntityAlreadyExists", 0)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// span is the filter of a question about rows of one partition.
var span = regexp.MustCompile(`^PartitionKey eq '([^']*)'(?: and RowKey ge '([^']*)' and RowKey (lt|le) '([^']*)')?$`)

// partitions is the filter of a question about rows of all partitions from one on, or between two.
var partitions = regexp.MustCompile(`^PartitionKey (ge|gt) '([^']*)'(?: and PartitionKey le '([^']*)')?$`)

// list answers a question about the rows of a table: all of them, those of some partitions, or a
// range of one partition. The answer is one page, however many rows there are.
func (s *shelf) list(w http.ResponseWriter, table string, query url.Values) {
	filter, partition := query.Get("$filter"), ""
	one, some := span.FindStringSubmatch(filter), partitions.FindStringSubmatch(filter)
	switch {
	case one != nil:
		partition = one[1]
	case some == nil && filter != "":
		refuse(w, http.StatusNotImplemented, "NotImplemented", 0)
		return
	}
	s.mu.Lock()
	rows, err := s.written(table, partition)
	s.mu.Unlock()
	rows = slices.DeleteFunc(rows, func(row archived) bool {
		switch {
		case one != nil:
			return row.key < one[2] || one[3] == "lt" && row.key >= one[4] || one[3] == "le" && row.key > one[4]
		case some != nil:
			of, _, _ := strings.Cut(row.key, " ")
			return of < some[2] || some[1] == "gt" && of == some[2] || some[3] != "" && of > some[3]
		}
		return false
	})
	answerRows(w, rows, err)
}

// answerRows answers with rows, or says that they could not be read.
func answerRows(w http.ResponseWriter, rows []archived, err error) {
	page := struct {
		Value []jsontext.Value `json:"value"`
	}{[]jsontext.Value{}}
	for _, row := range rows {
		page.Value = append(page.Value, row.text)
	}
	text, errText := json.Marshal(page)
	if errors.Join(err, errText) != nil {
		refuse(w, http.StatusInternalServerError, "InternalError", 0)
		return
	}
	w.Header().Set("Content-Type", "application/json;odata=minimalmetadata")
	_, _ = w.Write(text)
}

// written returns the rows of a partition that somebody wrote, in order, or those of all partitions
// if it is "". Whoever asks has s.mu, or s alone.
func (s *shelf) written(table, partition string) (rows []archived, err error) {
	of := table + " "
	if partition != "" {
		of += partition + " "
	}
	for row, had := range s.rows {
		key, ok := strings.CutPrefix(row, of)
		if !ok {
			continue
		}
		text, err := had.entity()
		if err != nil {
			return nil, err
		}
		rows = append(rows, archived{key, text})
	}
	slices.SortFunc(rows, func(a, b archived) int { return strings.Compare(a.key, b.key) })
	return rows, nil
}

// point is the path of a request for one row: its table and keys.
var point = regexp.MustCompile(`^(.*)\(PartitionKey='(.*)',RowKey='(.*)'\)$`)

// entity returns a row as JSON.
func (r shelved) entity() (jsontext.Value, error) {
	if len(r.bodies) == 1 {
		return r.bodies[0], nil
	}
	merged := map[string]jsontext.Value{}
	for _, b := range r.bodies {
		if err := json.Unmarshal(b, &merged); err != nil {
			return nil, err
		}
	}
	return json.Marshal(merged)
}

// answer answers a request for a row, which may not be there.
func (r shelved) answer(w http.ResponseWriter, there bool) {
	text, err := r.entity()
	if !there || err != nil {
		refuse(w, http.StatusNotFound, "ResourceNotFound", 0)
		return
	}
	w.Header().Set("Content-Type", "application/json;odata=minimalmetadata")
	w.Header().Set("ETag", r.etag)
	_, _ = w.Write(text)
}

// read reads what a request changes.
func read(path string, header http.Header, body []byte, method string) (rowChange, error) {
	var keys struct{ PartitionKey, RowKey string }
	if err := json.Unmarshal(body, &keys); err != nil {
		return rowChange{}, err
	}
	table, _, _ := strings.Cut(path, "(")
	return rowChange{
		insert: method == http.MethodPost, merge: method == http.MethodPatch, row: table + " " + keys.PartitionKey + " " + keys.RowKey, body: body, ifMatch: header.Get("If-Match"),
	}, nil
}

// make makes all changes, and returns the new ETags, or makes none and says in one of the
// changes why not.
func (s *shelf) make(changes []rowChange) (etags []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range changes {
		have, there := s.rows[c.row]
		switch {
		case c.insert && there:
			changes[i].rejected = "EntityAlreadyExists"
		case !c.insert && !there:
			changes[i].rejected = "ResourceNotFound"
		case !c.insert && c.ifMatch != have.etag:
			changes[i].rejected = "UpdateConditionNotSatisfied"
		default:
			continue
		}
		return nil
	}
	for _, c := range changes {
		s.writes++
		row := shelved{etag: fmt.Sprintf(`W/"%d"`, s.writes)}
		if c.merge {
			row.bodies = s.rows[c.row].bodies
		}
		row.bodies = append(row.bodies, c.body)
		s.rows[c.row] = row
		etags = append(etags, row.etag)
	}
	return etags
}

// batch answers an entity group transaction
// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions).
func (s *shelf) batch(w http.ResponseWriter, contentType string, body []byte) {
	changes, err := readBatch(contentType, body)
	if err != nil {
		refuse(w, http.StatusNotImplemented, "NotImplemented", 0)
		return
	}
	etags := s.make(changes)
	var b bytes.Buffer
	const head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	b.WriteString("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n")
	for _, etag := range etags {
		b.WriteString("--c\r\n" + head + "HTTP/1.1 204 No Content\r\nETag: " + etag + "\r\n\r\n\r\n")
	}
	for i, c := range changes {
		if c.rejected != "" {
			fmt.Fprintf(&b, "--c\r\n%sHTTP/1.1 409 Conflict\r\n\r\n%s\r\n", head, problem(c.rejected, i))
		}
	}
	b.WriteString("--c--\r\n--b--\r\n")
	w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(b.Bytes())
}

// readBatch reads the changes of a transaction.
func readBatch(contentType string, body []byte) (changes []rowChange, err error) {
	outer, err := firstPart(contentType, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	_, parameters, err := mime.ParseMediaType(outer.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	for parts := multipart.NewReader(outer, parameters["boundary"]); ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			return changes, nil
		}
		if err != nil {
			return nil, err
		}
		text := bufio.NewReader(part)
		line, err := text.ReadString('\n')
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		for {
			line, err := text.ReadString('\n')
			if err != nil {
				return nil, err
			}
			name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if !ok {
				break
			}
			header.Set(name, strings.TrimSpace(value))
		}
		entity, err := io.ReadAll(text)
		if err != nil {
			return nil, err
		}
		method, target, _ := strings.Cut(line, " ")
		_, path, _ := strings.Cut(target, "/contoso/")
		path, _, _ = strings.Cut(path, "?")
		path, _, _ = strings.Cut(path, " ")
		c, err := read(path, header, entity, method)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
}

// firstPart returns the first part of a multipart document.
func firstPart(contentType string, body io.Reader) (*multipart.Part, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	return multipart.NewReader(body, parameters["boundary"]).NextPart()
}

func problem(code string, index int) string {
	return fmt.Sprintf(`{"odata.error":{"code":%q,"message":{"lang":"en-us","value":"%d:%s"}}}`, code, index, code)
}

func refuse(w http.ResponseWriter, status int, code string, index int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, problem(code, index))
}
