package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/secret"
)

const (
	// mostDepth is how many objects and arrays of an answer may stand inside each
	// other. Json.NET's readers and .NET's own end at 64
	// (https://www.newtonsoft.com/json/help/html/P_Newtonsoft_Json_JsonReader_MaxDepth.htm,
	// https://learn.microsoft.com/dotnet/api/system.text.json.jsonreaderoptions.maxdepth).
	mostDepth = 64
	// outputDepth is how many of these an output has around it.
	outputDepth = 2
	// mostDigits is how many characters an integer may have that has more than 64 bits
	// (JamesNK/Newtonsoft.Json, JsonTextReader, MaximumJavascriptIntegerCharacterLength).
	mostDigits = 380
)

// Legible returns an error if the Functions host cannot read value as an element of an
// output, or reads a number in it as something else. The host reads an answer with Json.NET
// (Azure/azure-functions-host, DefaultHttpWorkerService.GetHttpScriptInvocationResult).
// An invocation whose answer it cannot read has failed, and so has each retry. The
// error says what is wrong with value and where, and quotes nothing but names in it.
//
// Json.NET is content with members that stand twice and with lone surrogates. An answer
// has neither.
func Legible(value jsontext.Value) error { return legible(value, mostDepth-outputDepth-1) }

// legible is Legible of a value that may have most objects and arrays inside each other.
func legible(value jsontext.Value, most int) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case d.StackDepth() > most:
			err = fmt.Errorf("more than %d objects and arrays inside each other", most)
		case token.Kind() == '0':
			err = legibleNumber(token.String())
		case token.Kind() == '"':
			if kind, n := d.StackIndex(d.StackDepth()); kind != '{' || n%2 == 0 { // not a name
				err = legibleText(token.String())
			}
		}
		if err != nil {
			at := secret.RedactString(string(d.StackPointer())) // before the cut
			return fmt.Errorf("%w, at %.100q", err, at)
		}
	}
}

// legibleNumber returns an error if Json.NET cannot read a number, or makes the text
// "Infinity" of it.
func legibleNumber(raw string) error {
	if !strings.ContainsAny(raw, ".eE") {
		if len(raw) > mostDigits {
			return fmt.Errorf("an integer of %d characters, and at most %d are read", len(raw), mostDigits)
		}
		return nil
	}
	if _, err := strconv.ParseFloat(raw, 64); err != nil {
		return errors.New("a number that is too large for 64 bits")
	}
	return nil
}

// legibleText returns an error if Json.NET takes a text for a time that it cannot
// keep, which ends its reading (JamesNK/Newtonsoft.Json, DateTimeUtils): one in
// milliseconds, of any size, or the midnight after the last day of .NET's calendar.
func legibleText(text string) error {
	if strings.HasPrefix(text, "/Date(") && strings.HasSuffix(text, ")/") || strings.HasPrefix(text, "9999-12-31T24:00:00") {
		return errors.New("a text that is taken for a time which may not exist")
	}
	return nil
}
