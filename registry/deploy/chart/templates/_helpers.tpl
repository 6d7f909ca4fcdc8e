{{- define "kitbag.labels" -}}
app.kubernetes.io/name: kitbag
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "kitbag.selector" -}}
app.kubernetes.io/name: kitbag
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "kitbag.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else if .Values.image.tag -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- else -}}
{{ .Values.image.repository }}
{{- end -}}
{{- end }}

{{- define "kitbag.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  # A uid that nothing else has: any process of this uid in the host's network could share the port.
  runAsUser: 50505
  runAsGroup: 50505
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: run
    emptyDir:
      medium: Memory
      sizeLimit: 1Mi
{{- end }}

{{- define "kitbag.container" -}}
name: registry
image: {{ include "kitbag.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [/usr/bin/kitbag-registry, serve]
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: run
    mountPath: /run/kitbag
{{- end }}
