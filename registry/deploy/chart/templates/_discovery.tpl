{{/* The id of the generation that the catalog is of; nothing without a catalog. */}}
{{- define "kitbag.generation" -}}
{{- $catalog := .Values.discovery.catalog | default "{}" | fromJson }}
{{- if and .Values.discovery.catalog (not $catalog.generation) }}
{{- fail "discovery.catalog is not what `kitbag-builder catalog` prints: it names no generation" }}
{{- end }}
{{- $catalog.generation | default "" | trimPrefix "sha256:" | trunc 12 }}
{{- end }}

{{/* Where the registry on each node listens. */}}
{{- define "kitbag.listen" -}}
{{- printf "127.0.0.1:%v" .Values.node.port }}
{{- end }}

{{/* What nodes pull from, as they call it. */}}
{{- define "kitbag.registry" -}}
{{- with .Values }}
{{- if .discovery.registry }}
{{- .discovery.registry }}
{{- else if .node.enabled }}
{{- include "kitbag.listen" $ }}
{{- else if and .central.enabled .central.ingress.enabled }}
{{- .central.ingress.host }}
{{- else }}
{{- fail "nothing of this is known to nodes by a name: set discovery.registry to what they pull from, or discovery.enabled=false" }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Refuses an upgrade that tells of a generation, or of an address, which not every registry of this release serves: helm
writes ConfigMaps before it touches a DaemonSet, a Deployment or an Ingress, and waits for none. Rendered without a cluster
(`helm template`) it knows of nothing to refuse. A rollback renders nothing: it is in the right order as it is, the
ConfigMap first.
*/}}
{{- define "kitbag.order" -}}
{{- $generation := include "kitbag.generation" . }}
{{- $told := lookup "v1" "ConfigMap" "kube-public" "kitbag" | default dict }}
{{- $ours := eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $told) .Release.Name }}
{{- $before := dig "data" "generation" "" $told }}
{{- if and $ours $before }}
{{- if not $generation }}
{{- fail (printf "discovery.catalog is not given, and the plugin is told of generation %s: give the catalog again (--set-file discovery.catalog=..., --reset-then-reuse-values), or uninstall" $before) }}
{{- end }}
{{- $from := dig "data" "registry" "" $told }}
{{- $registry := include "kitbag.registry" . }}
{{- $moves := ne $from $registry }}
{{- /* The values of a release that an older chart made, taken over by --reuse-values, can lack the key. */}}
{{- if and (or $moves (ne $before $generation)) (dig "afterRollout" true .Values.discovery) }}
{{- $would := printf "the plugin would be told of generation %s at %s" $generation $registry }}
{{- $first := printf "upgrade the registries first, with %sthe catalog of before (--reset-then-reuse-values)" (ternary (printf "discovery.registry=%s and " $from) "" $moves) }}
{{- $kinds := concat (ternary (list "DaemonSet") list .Values.node.enabled) (ternary (list "Deployment") list .Values.central.enabled) }}
{{- range $kind := $kinds }}
{{- $node := eq $kind "DaemonSet" }}
{{- $is := lookup "apps/v1" $kind $.Release.Namespace "registry" | default dict }}
{{- $wait := printf "wait for `kubectl -n %s rollout status %s/registry`" $.Release.Namespace (lower $kind) }}
{{- $container := dig "spec" "template" "spec" "containers" list $is | first | default dict }}
{{- $listens := "" }}
{{- range $container.env }}
{{- if eq .name "KITBAG_LISTEN" }}
{{- $listens = .value }}
{{- end }}
{{- end }}
{{- $stays := or (not $node) (eq $listens (include "kitbag.listen" $)) }}
{{- if not (and $stays (eq ($container.image | default "") (include "kitbag.image" $))) }}
{{- fail (printf "%s, and %s `registry` %s: %s, %s, and change what the plugin is told then" $would $kind (ternary "changes with it" "is not there yet" (not (empty $is))) $first $wait) }}
{{- end }}
{{- $status := $is.status | default dict }}
{{- $wanted := ternary ($status.desiredNumberScheduled) ($is.spec.replicas) $node | default 0 | int }}
{{- $updated := ternary ($status.updatedNumberScheduled) ($status.updatedReplicas) $node | default 0 | int }}
{{- $available := ternary ($status.numberAvailable) ($status.availableReplicas) $node | default 0 | int }}
{{- $seen := eq (int ($status.observedGeneration | default 0)) (int $is.metadata.generation) }}
{{- if not (and $seen (eq $updated $wanted) (ge $available $wanted)) }}
{{- fail (printf "%s, and %s `registry` is still being rolled out (%d of %d updated, %d available): %s, or set discovery.afterRollout=false" $would $kind $updated $wanted $available $wait) }}
{{- end }}
{{- end }}
{{- with .Values.central }}
{{- if and .enabled .ingress.enabled (eq $registry .ingress.host) }}
{{- $is := lookup "networking.k8s.io/v1" "Ingress" $.Release.Namespace "registry" | default dict }}
{{- $rule := dig "spec" "rules" list $is | first | default dict }}
{{- if ne ($rule.host | default "") $registry }}
{{- fail (printf "%s, and Ingress `registry` does not have that host yet: %s, and change what the plugin is told when nodes can pull from there" $would $first) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
