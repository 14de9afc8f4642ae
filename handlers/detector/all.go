package detector

// All lists every detector of hubwatch, in the order of the catalogue. A new
// detector is added here. `make generate` writes everything else.
var All = []Detector{
	CertificateAdded,
	CertificateDeleted,
	CertificateAddFailed,
	CertificateDeleteFailed,
	DiagnosticSettingChanged,
	DiagnosticSettingDeleted,
	DeviceTokenExpired,
	DeviceTokenInvalid,
	DeviceCertificateExpired,
	DeviceCertificateMismatch,
	ConnectionStorm,
	ReconnectionSurge,
	PathBroken,
}
