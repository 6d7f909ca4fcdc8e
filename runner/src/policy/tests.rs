use kitbag_toolsets::{Catalog, Need};

use super::*;

fn builtin() -> Inventory {
    Inventory::of(&Catalog::builtin().unwrap())
}

fn wanted<'a>(registry: &'a Registry, groups: &'a [String], namespaces: &'a [(String, String)]) -> Wanted<'a> {
    Wanted { registry, groups, namespaces, default_capabilities: false }
}

fn printed(wanted: &Wanted<'_>) -> String {
    // The list of names that need a capability is long, and tested by itself.
    let (mut policy, binding) = objects(wanted, &builtin());
    for variable in policy.spec.iter_mut().flat_map(|spec| spec.variables.iter_mut().flatten()) {
        if variable.name == "needs" {
            "…".clone_into(&mut variable.expression);
        }
    }
    let texts = [serde_saphyr::to_string(&policy), serde_saphyr::to_string(&binding)].map(Result::unwrap);
    texts.join("---\n")
}

#[test]
fn the_policy_for_everybody() {
    let registry: Registry = "127.0.0.1:5050".parse().unwrap();
    insta::assert_snapshot!(printed(&wanted(&registry, &[], &[])), @r#"
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata:
      name: kitbag-debug-containers
    spec:
      failurePolicy: Fail
      matchConditions:
      - expression: request.subResource == 'ephemeralcontainers'
        name: ephemeral-containers
      matchConstraints:
        resourceRules:
        - apiGroups:
          - ""
          apiVersions:
          - v1
          operations:
          - UPDATE
          resources:
          - pods/ephemeralcontainers
      validations:
      - expression: variables.added.all(c, has(c.image) && c.image.startsWith("127.0.0.1:5050/"))
        message: images of debug containers must come from `127.0.0.1:5050`
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            !has(c.securityContext) ||
            !has(c.securityContext.privileged) ||
            !c.securityContext.privileged)
        message: debug containers must not be privileged
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            !has(c.securityContext) ||
            !has(c.securityContext.capabilities) ||
            !has(c.securityContext.capabilities.add) ||
            c.securityContext.capabilities.add.all(capability,
              capability in variables.needs &&
              has(c.image) && c.image.startsWith("127.0.0.1:5050/") &&
              c.image.substring(15).split('@')[0].split(':')[0].split('/').exists(name,
                name in variables.needs[capability])))
        message: "debug containers may have the capabilities that the tools in their image's name need, and no other: `kubectl kitbag needs TOOL` lists them"
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            has(c.securityContext) &&
            has(c.securityContext.capabilities) &&
            has(c.securityContext.capabilities.drop) &&
            'ALL' in c.securityContext.capabilities.drop)
        message: debug containers must drop ALL capabilities and add those that their tools need
        reason: Forbidden
      variables:
      - expression: |-
          !has(object.spec.ephemeralContainers) ? [] :
          object.spec.ephemeralContainers.filter(c,
            !has(oldObject.spec.ephemeralContainers) ||
            !oldObject.spec.ephemeralContainers.exists(old, old.name == c.name))
        name: added
      - expression: …
        name: needs
    ---
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicyBinding
    metadata:
      name: kitbag-debug-containers
    spec:
      policyName: kitbag-debug-containers
      validationActions:
      - Deny
    "#);
}

#[test]
fn the_policy_for_groups_and_namespaces() {
    let registry: Registry = "registry.example/tools".parse().unwrap();
    let groups = ["oncall".to_owned(), "a \"b\"".to_owned()];
    let namespaces = [("env".to_owned(), "prod".to_owned())];
    insta::assert_snapshot!(printed(&wanted(&registry, &groups, &namespaces)), @r#"
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata:
      name: kitbag-debug-containers
    spec:
      failurePolicy: Fail
      matchConditions:
      - expression: request.subResource == 'ephemeralcontainers'
        name: ephemeral-containers
      matchConstraints:
        resourceRules:
        - apiGroups:
          - ""
          apiVersions:
          - v1
          operations:
          - UPDATE
          resources:
          - pods/ephemeralcontainers
      validations:
      - expression: |-
          variables.added.size() == 0 ||
          has(request.userInfo.groups) &&
          request.userInfo.groups.exists(group, group in ["oncall", "a \"b\""])
        message: debug containers may be added by oncall, a "b" only
        reason: Forbidden
      - expression: >-
          variables.added.all(c, has(c.image) &&
          c.image.startsWith("registry.example/tools/"))
        message: images of debug containers must come from `registry.example/tools`
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            !has(c.securityContext) ||
            !has(c.securityContext.privileged) ||
            !c.securityContext.privileged)
        message: debug containers must not be privileged
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            !has(c.securityContext) ||
            !has(c.securityContext.capabilities) ||
            !has(c.securityContext.capabilities.add) ||
            c.securityContext.capabilities.add.all(capability,
              capability in variables.needs &&
              has(c.image) && c.image.startsWith("registry.example/tools/") &&
              c.image.substring(23).split('@')[0].split(':')[0].split('/').exists(name,
                name in variables.needs[capability])))
        message: "debug containers may have the capabilities that the tools in their image's name need, and no other: `kubectl kitbag needs TOOL` lists them"
        reason: Forbidden
      - expression: |-
          variables.added.all(c,
            has(c.securityContext) &&
            has(c.securityContext.capabilities) &&
            has(c.securityContext.capabilities.drop) &&
            'ALL' in c.securityContext.capabilities.drop)
        message: debug containers must drop ALL capabilities and add those that their tools need
        reason: Forbidden
      variables:
      - expression: |-
          !has(object.spec.ephemeralContainers) ? [] :
          object.spec.ephemeralContainers.filter(c,
            !has(oldObject.spec.ephemeralContainers) ||
            !oldObject.spec.ephemeralContainers.exists(old, old.name == c.name))
        name: added
      - expression: …
        name: needs
    ---
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicyBinding
    metadata:
      name: kitbag-debug-containers
    spec:
      matchResources:
        namespaceSelector:
          matchLabels:
            env: prod
      policyName: kitbag-debug-containers
      validationActions:
      - Deny
    "#);
}

#[test]
fn what_a_tool_needs_is_for_its_cluster_to_say() {
    let mut inventory = builtin();
    let dig = inventory.tools.iter_mut().find(|tool| tool.name.as_str() == "dig").unwrap();
    dig.needs.optional.insert(Need::RawSocket);
    let raw = |inventory: &Inventory| {
        expressions::needs(inventory).lines().find(|line| line.contains("NET_RAW")).unwrap().contains("\"dig\"")
    };
    assert!(raw(&inventory) && !raw(&builtin()));
}

#[test]
fn a_capability_is_for_the_names_that_need_it() {
    let needs = expressions::needs(&builtin());
    let of = |capability: &str| -> Vec<String> {
        let line = needs.lines().find_map(|line| line.trim().strip_prefix(&format!("\"{capability}\": "))).unwrap();
        serde_json::from_str(line.trim_end_matches(',')).unwrap()
    };
    let raw = of("NET_RAW");
    for name in ["tcpdump", "tcpdump-4.99.6", "net", "busybox", "wget"] {
        assert!(raw.iter().any(|it| it == name), "{name}");
    }
    for name in ["strace", "dig", "htop"] {
        assert!(!raw.iter().any(|it| it == name), "{name}");
    }
    assert!(!of("SYS_CHROOT").contains(&"strace".to_owned()));
    assert!(of("SYS_PTRACE").contains(&"trace".to_owned()));
    assert!(!needs.contains("SYS_ADMIN"));
}
