package functions

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"hubwatch/handlers/local/netjson"
)

// route says which requests an HTTP function takes.
type route struct {
	text     string // as written, without the prefix and without slashes around it
	segments []segment
	methods  []string // none means every method
}

// segment is a part of a route between slashes: a text, or a parameter.
type segment struct {
	text      string
	parameter string
	optional  bool // a parameter that may be missing at the end
	rest      bool // a parameter that takes all that is left, which may be nothing
}

var parameterShape = regexp.MustCompile(`^\{(\*?)([A-Za-z_][A-Za-z0-9_]*)(\??)\}$`)

// newRoute reads the members route and methods of an HTTP trigger. This host
// knows three parts of ASP.NET's routes: text, {name}, and at the end {name?} or
// {*name}.
func newRoute(prefix, text string, methods []string) (route, error) {
	r := route{text: strings.Trim(text, "/")}
	for _, m := range methods {
		r.methods = append(r.methods, strings.ToUpper(m))
	}
	for _, reserved := range []string{"admin", "runtime"} {
		if strings.HasPrefix(strings.ToLower(r.text), reserved) {
			return route{}, fmt.Errorf("%q conflicts with one or more built in routes", text)
		}
	}
	parts := strings.Split(r.text, "/")
	if prefix != "" {
		parts = append(strings.Split(prefix, "/"), parts...)
	}
	names := map[string]bool{}
	for i, part := range parts {
		if !strings.ContainsAny(part, "{}") {
			if part == "" {
				return route{}, fmt.Errorf("%q has an empty part", text)
			}
			r.segments = append(r.segments, segment{text: part})
			continue
		}
		shape := parameterShape.FindStringSubmatch(part)
		if shape == nil {
			return route{}, fmt.Errorf("%q is not supported here: a parameter is {name}, {name?} or {*name} and stands alone between slashes", part)
		}
		s := segment{parameter: shape[2], rest: shape[1] != "", optional: shape[3] != ""}
		if (s.rest || s.optional) && i < len(parts)-1 {
			return route{}, fmt.Errorf("%q is not at the end of %q", part, text)
		}
		if key := strings.ToLower(s.parameter); names[key] {
			return route{}, fmt.Errorf("%q has the parameter %s twice", text, s.parameter)
		} else {
			names[key] = true
		}
		r.segments = append(r.segments, s)
	}
	return r, nil
}

// conflicts returns an error if one of the functions has the same route for the
// same method (Azure/azure-functions-host, ScriptHost.HttpRoutesConflict).
func (r route) conflicts(functions []function) error {
	for _, f := range functions {
		common := slices.ContainsFunc(r.methods, func(m string) bool { return slices.Contains(f.route.methods, m) })
		if strings.EqualFold(r.text, f.route.text) && (common || len(r.methods) == 0 || len(f.route.methods) == 0) {
			return fmt.Errorf("the route %q conflicts with that of the function '%s'", r.text, f.name)
		}
	}
	return nil
}

// match returns the parameters of a request, if the route takes it. The value of
// an optional parameter that is missing is null.
func (r route) match(request *http.Request) (parameters []netjson.Member, ok bool) {
	if len(r.methods) > 0 && !slices.Contains(r.methods, request.Method) {
		return nil, false
	}
	parts := strings.Split(strings.Trim(request.URL.EscapedPath(), "/"), "/")
	for i, s := range r.segments {
		value, there := "", i < len(parts)
		if there {
			if s.rest {
				parts[i] = strings.Join(parts[i:], "/")
				parts = parts[:i+1]
			}
			unescaped, err := url.PathUnescape(parts[i])
			if err != nil || unescaped == "" {
				return nil, false
			}
			value = unescaped
		}
		switch {
		case s.parameter == "" && (!there || !strings.EqualFold(value, s.text)):
			return nil, false
		case s.parameter == "":
		case there:
			parameters = append(parameters, netjson.Member{Name: s.parameter, Value: netjson.AppendText(nil, value)})
		case s.optional || s.rest:
			parameters = append(parameters, netjson.Member{Name: s.parameter, Value: []byte("null")})
		default:
			return nil, false
		}
	}
	return parameters, len(parts) <= len(r.segments)
}

// routed returns the function that takes a request, and the parameters in its
// path. The functions are asked in the order of their names. A request with a
// method that no function takes is answered like one with an unknown path
// (Azure/azure-functions-host, WebScriptHostHttpRoutesManager).
func (h *Host) routed(r *http.Request) (f function, parameters []netjson.Member, ok bool) {
	for _, name := range h.Names() {
		f := h.functions[name]
		if !f.trigger.is(httpTrigger) {
			continue
		}
		if parameters, ok := f.route.match(r); ok {
			return f, parameters, true
		}
	}
	return function{}, nil, false
}
