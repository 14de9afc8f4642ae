package detector

import "hubwatch/handlers/alert"

// Target is target, for the tests that change one condition at a time.
type Target = target

// ChildTypes returns where a target says which resources it takes.
func (t *target) ChildTypes() *[]string { return &t.childTypes }

// Targets are the package's targets, by the entity that their findings are about.
var Targets = map[alert.EntityType]*Target{
	hubCertificate.entity:       &hubCertificate,
	hubDiagnosticSetting.entity: &hubDiagnosticSetting,
}
