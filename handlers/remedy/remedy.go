// Package remedy has what to do about an alert as command lines that a person may
// copy. A command is data: its words, and the values of an alert that stand in them. A
// renderer quotes the values for bash or PowerShell, and refuses those that no quoting
// makes safe. hubwatch never runs such a command.
//
// The names in an alert are texts of whoever caused the event. A device may be called
// $(reboot), -x or @.bashrc, and a request that failed may name anything.
package remedy

import (
	"slices"
	"strings"

	"hubwatch/handlers/alert"
)

// Goal says what a command is for.
type Goal string

// The goals, in the order in which a person pursues them.
const (
	Investigate Goal = "investigate" // changes nothing
	Fix         Goal = "fix"
	Verify      Goal = "verify" // shows whether the fix worked; changes nothing
	Undo        Goal = "undo"   // takes the fix back
)

// Goals are all goals, in their order.
var Goals = []Goal{Investigate, Fix, Verify, Undo}

// Command is one command line.
type Command struct {
	Goal Goal
	// Says is what the command does, and what to look for in its output, in full
	// sentences.
	Says string
	// Needs names the role and the extension of az that the command needs, as they stand
	// after "Needs ". It is "" if everybody who is signed in can run the command.
	Needs string
	// Args are the words of the command, the program first.
	Args []Arg
	// Keep means that the command prints a certificate in base64. The command line
	// decodes it and writes it into the file Copy.
	Keep bool
	// Destructive means that something stops working, or is lost, until it is undone.
	Destructive bool
	// When says when the command is right, which only a person can know, as it stands
	// after "Only if ": "nobody planned it". It is "" if the command is always right.
	When string
	// On are the kinds of entity that the command is for, nil for all. A command also
	// needs each of its values, see Value.
	On []alert.EntityType
}

// Arg is one argument: a word of ours, or an option with its value. An option always
// has the form --name=value, so that a value that begins with a hyphen is no option.
type Arg struct {
	Option string // with its hyphens, "" for a word that stands by itself
	Parts  []Part // of the value, or of the word; joined without anything between
}

// Advice is what a person reads before the command: what it does, when it is right,
// whether it ends something, and what it needs.
func (c Command) Advice() string {
	advice := c.Says
	if c.When != "" {
		advice += " Only if " + c.When + "."
	}
	if c.Destructive {
		advice += " Destructive."
	}
	if c.Needs != "" {
		advice += " Needs " + c.Needs + "."
	}
	return advice
}

// Part is a piece of an argument: a Text or a Value.
type Part interface{ part() }

// Text is a piece that is the same for all alerts. It is quoted like a Value.
type Text string

func (Text) part()  {}
func (Value) part() {}

// Words splits a text at its blanks into words of a command.
func Words(text string) (args []Arg) {
	for word := range strings.FieldsSeq(text) {
		args = append(args, Word(Text(word)))
	}
	return args
}

// Word returns an argument that is not an option.
func Word(parts ...Part) Arg { return Arg{Parts: parts} }

// Option returns an option with its value.
func Option(name string, parts ...Part) Arg { return Arg{Option: name, Parts: parts} }

// Filled is a command with the values of one alert.
type Filled struct {
	Command // its Says also says what a person has to fill in
	args    []argument
	copy    string   // the file for a command with Keep
	refused *Refusal // why there is no command line, nil if there is one
}

// argument is an Arg with its values.
type argument struct {
	option string // "" for a word
	value  string
}

// text is the argument as the program gets it.
func (a argument) text() string {
	if a.option == "" {
		return a.value
	}
	return a.option + "=" + a.value
}

// For returns the commands that are for an alert, with its values, by goal. It leaves
// out a command if the alert has another kind of entity, or lacks one of its values.
func For(a alert.Alert, commands []Command) []Filled {
	var all []Filled
	for _, c := range commands {
		if c.On != nil && !slices.Contains(c.On, a.Entity.Type) {
			continue
		}
		if f, ok := c.fill(a); ok {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Filled) int {
		return slices.Index(Goals, a.Goal) - slices.Index(Goals, b.Goal)
	})
	return all
}

// fill puts the values of an alert into c. It reports whether the alert has all of
// them.
func (c Command) fill(a alert.Alert) (Filled, bool) {
	f := Filled{Command: c}
	f.args, f.refused = c.arguments(func(v Value) (string, *Refusal) { return v.in(a) })
	if f.args == nil && f.refused == nil {
		return f, false
	}
	if c.Keep && f.refused == nil {
		f.copy, f.refused = Copy.in(a)
	}
	for _, v := range c.asked(a) {
		f.Says += " Put " + v.ask + " in place of " + v.name + "."
	}
	return f, true
}

// arguments returns the arguments of c, with the values that value gives. It returns
// neither arguments nor a refusal if value gives "" for one of them.
func (c Command) arguments(value func(Value) (string, *Refusal)) (args []argument, refused *Refusal) {
	for _, arg := range c.Args {
		var text strings.Builder
		for _, part := range arg.Parts {
			switch part := part.(type) {
			case Text:
				text.WriteString(string(part))
			case Value:
				s, err := value(part)
				if s == "" && err == nil {
					return nil, nil
				}
				if err != nil && refused == nil {
					refused = err
				}
				text.WriteString(s)
			}
		}
		args = append(args, argument{arg.Option, text.String()})
	}
	if refused != nil {
		return nil, refused
	}
	return args, nil
}

// asked returns the values of c that a person has to fill in for an alert.
func (c Command) asked(a alert.Alert) (asked []Value) {
	for _, arg := range c.Args {
		for _, part := range arg.Parts {
			if v, ok := part.(Value); ok && v.asks(a) && !slices.ContainsFunc(asked, func(w Value) bool { return w.name == v.name }) {
				asked = append(asked, v)
			}
		}
	}
	return asked
}

// Template returns the command for bash with the names of its values in their places,
// such as HUB.
func (c Command) Template() string {
	f := Filled{Command: c, copy: Copy.name}
	f.args, _ = c.arguments(func(v Value) (string, *Refusal) { return v.name, nil })
	line, _ := f.Bash() // A name is never refused.
	return line
}
