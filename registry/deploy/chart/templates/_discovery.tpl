{{/* The id of the generation that the catalog is of; nothing without a catalog. */}}
{{- define "kitbag.generation" -}}
{{- $catalog := .Values.discovery.catalog | default "{}" | fromJson }}
{{- if and .Values.discovery.catalog (not $catalog.generation) }}
{{- fail "discovery.catalog is not what `kitbag-builder catalog` prints: it names no generation" }}
{{- end }}
{{- $catalog.generation | default "" | trimPrefix "sha256:" | trunc 12 }}
{{- end }}

{{/* What nodes pull from, as they call it. */}}
{{- define "kitbag.registry" -}}
{{- with .Values }}
{{- if .discovery.registry }}
{{- .discovery.registry }}
{{- else if .node.enabled }}
{{- printf "127.0.0.1:%v" .node.port }}
{{- else if and .central.enabled .central.ingress.enabled }}
{{- .central.ingress.host }}
{{- else }}
{{- fail "nothing of this is known to nodes by a name: set discovery.registry to what they pull from, or discovery.enabled=false" }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Refuses an upgrade that tells of a generation which not every registry of this release serves: helm writes ConfigMaps
before it touches a DaemonSet, and waits for neither. Rendered without a cluster (`helm template`) it knows of nothing to
refuse. A rollback renders nothing: it is in the right order as it is, the ConfigMap first.
*/}}
{{- define "kitbag.order" -}}
{{- $generation := include "kitbag.generation" . }}
{{- $told := lookup "v1" "ConfigMap" "kube-public" "kitbag" | default dict }}
{{- $ours := eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $told) .Release.Name }}
{{- $before := dig "data" "generation" "" $told }}
{{- if and $ours $before (ne $before $generation) }}
{{- if not $generation }}
{{- fail (printf "discovery.catalog is not given, and the plugin is told of generation %s: give the catalog again (--set-file discovery.catalog=..., --reuse-values), or uninstall" $before) }}
{{- end }}
{{- $kind := ternary "DaemonSet" "Deployment" .Values.node.enabled }}
{{- $registry := lookup "apps/v1" $kind .Release.Namespace "registry" | default dict }}
{{- if and .Values.discovery.afterRollout $registry }}
{{- $image := (first $registry.spec.template.spec.containers).image }}
{{- if ne $image (include "kitbag.image" .) }}
{{- fail (printf "this would tell the plugin of generation %s before there are registries that serve it: upgrade the image first, with the catalog of before (--reuse-values --set image...), wait for `kubectl -n %s rollout status %s/registry`, and upgrade the catalog then" $generation .Release.Namespace (lower $kind)) }}
{{- end }}
{{- $status := $registry.status | default dict }}
{{- $wanted := ternary ($status.desiredNumberScheduled) ($registry.spec.replicas) .Values.node.enabled | default 0 | int }}
{{- $updated := ternary ($status.updatedNumberScheduled) ($status.updatedReplicas) .Values.node.enabled | default 0 | int }}
{{- $available := ternary ($status.numberAvailable) ($status.availableReplicas) .Values.node.enabled | default 0 | int }}
{{- $seen := eq (int ($status.observedGeneration | default 0)) (int $registry.metadata.generation) }}
{{- if not (and $seen (eq $updated $wanted) (ge $available $wanted)) }}
{{- fail (printf "the plugin would be told of generation %s, and %s `registry` is still being rolled out (%d of %d updated, %d available): wait for `kubectl -n %s rollout status %s/registry`, or set discovery.afterRollout=false" $generation $kind $updated $wanted $available .Release.Namespace (lower $kind)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
