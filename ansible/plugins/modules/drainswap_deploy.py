#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: drainswap_deploy
short_description: Replaces the containers behind an HAProxy backend without losing a request
version_added: 0.1.0
author: the authors of drainswap (@drainswap)
description:
  - Replaces the Docker containers behind the servers of an HAProxy backend, one server at a time. Each is drained, its
    last session is waited for, its container is replaced, the new one must answer, and the server is put back.
  - Whatever fails is taken back.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.policy
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(deployed) deploys O(image), or applies O(plan).
      - V(rolled_back) goes back to what ran before the last deploy, or to O(to). It is an act and no state. Each run goes
        back one deploy further.
      - V(promoted) deploys the digest that the place of the settings O(from) runs to the place of the settings O(to).
    type: str
    choices: [deployed, rolled_back, promoted]
    default: deployed
  backend:
    description: The backend. May be left out beside O(plan).
    type: str
  image:
    description: The image, by tag or digest. Without it, the one that the settings describe the service with.
    type: str
  plan:
    description: A file on the target with a plan that C(drainswap plan --save) has written. Exactly that is applied, or nothing.
    type: path
  approved:
    description: The SHA-256 of the plan file that was approved, as C(drainswap plan --save) tells it. Another file is refused.
    type: str
  resume_first:
    description: Where the last run was not finished, because it was killed, it is resumed first.
    type: bool
  to:
    description:
      - With O(state=rolled_back), to what this run had deployed, or to the image with this digest.
      - With O(state=promoted), the settings file of the place that gets it.
    type: str
  from:
    description: With O(state=promoted), the settings file of the place that runs it.
    type: str
seealso:
  - module: drainswap.drainswap.drainswap_info
"""

EXAMPLES = r"""
- name: Deploy a version behind the backend mobile
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    image: registry.example.org/mobile:v2
    lock_wait: 15m

- name: Deploy, and finish first what a killed run has left
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    image: registry.example.org/mobile:v2
    resume_first: true
    floor: 2
    drain_timeout: 10m
    on_drain_timeout: shutdown

- name: Go back to what ran before
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    state: rolled_back

- name: Deploy to production what staging runs
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    state: promoted
    from: /etc/drainswap/staging.toml
    to: /etc/drainswap/production.toml

- name: Deploy with a long drain, and look again every ten seconds
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    image: registry.example.org/mobile:v2
    drain_timeout: 1h
  async: 7200
  poll: 10
"""

RETURN = r"""
outcome:
  description: How the run ended. In check mode V(planned) or V(unchanged).
  returned: when there was a run, or in check mode
  type: str
  sample: deployed
run:
  description: The run, by which C(drainswap report) and O(to) know it.
  returned: when there was a run
  type: str
  sample: 20261123T221500.000Z
backend:
  description: The backend.
  returned: when there was a run, or in check mode
  type: str
  sample: mobile
image:
  description: The digest that was deployed.
  returned: when there was a run, or in check mode
  type: str
  sample: sha256:9b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f586
reference:
  description: The image by its name and digest, such as another place can deploy exactly.
  returned: when there was a run, or in check mode, and the image is from a registry
  type: str
  sample: registry.example.org/mobile:v2@sha256:9b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f586
servers:
  description: The servers that were worked on, or would be.
  returned: when there was a run, or in check mode
  type: list
  elements: str
  sample: [mobile/app1, mobile/app1b]
msg:
  description: What happened; of a failure also what to do.
  returned: always
  type: str
rc:
  description: The program's exit code.
  returned: always
  type: int
"""

from ansible_collections.drainswap.drainswap.plugins.module_utils.drainswap import POLICY, PROGRAM, run


def main():
    run(
        "drainswap_deploy",
        PROGRAM,
        POLICY,
        {
            "state": {"type": "str", "choices": ["deployed", "rolled_back", "promoted"], "default": "deployed"},
            "backend": {"type": "str"},
            "image": {"type": "str"},
            "plan": {"type": "path"},
            "approved": {"type": "str"},
            "resume_first": {"type": "bool"},
            "to": {"type": "str"},
            "from": {"type": "str"},
        },
    )


if __name__ == "__main__":
    main()
