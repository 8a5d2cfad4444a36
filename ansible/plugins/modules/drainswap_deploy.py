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
  - Replaces the Docker containers behind the servers of an HAProxy backend, one server at a time. drainswap
    drains the server, waits until its last session has ended, replaces the container, checks that the new one answers, and
    puts the server back.
  - If a step fails, drainswap rolls the run back.
extends_documentation_fragment:
  - drainswap.drainswap.common
  - drainswap.drainswap.common.policy
  - drainswap.drainswap.common.attributes
options:
  state:
    description:
      - V(deployed) deploys O(image), or applies O(plan).
      - V(rolled_back) returns to the images before the last deploy, or to O(to). It is an action and not a state, so each
        task goes back one more deploy.
      - V(promoted) deploys the digest that the site of the settings O(from) runs at the site of the settings O(to).
    type: str
    choices: [deployed, rolled_back, promoted]
    default: deployed
  backend:
    description: The backend. Leave it out with O(plan), which names it.
    type: str
  image:
    description: The image, by tag or digest. The default is the image of the service in the settings.
    type: str
  plan:
    description: A plan file on the target, written by C(drainswap plan --save). drainswap applies exactly this plan, or changes nothing.
    type: path
  approved:
    description: The SHA-256 of the approved plan file, which C(drainswap plan --save) printed. drainswap refuses any other file.
    type: str
  resume_first:
    description: If the last run was killed before it finished, resume it first.
    type: bool
  to:
    description:
      - With O(state=rolled_back), the run whose image to return to, or the digest of the image.
      - With O(state=promoted), the settings file of the site that gets the image.
    type: str
  from:
    description: With O(state=promoted), the settings file of the site that runs the image.
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

- name: Deploy, and first resume a run that was killed
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    image: registry.example.org/mobile:v2
    resume_first: true
    floor: 2
    drain_timeout: 10m
    on_drain_timeout: shutdown

- name: Roll the last deploy back
  drainswap.drainswap.drainswap_deploy:
    backend: mobile
    state: rolled_back

- name: Deploy the image of staging to production
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
  description: The outcome of the run. In check mode it is V(planned) or V(unchanged).
  returned: when there was a run, or in check mode
  type: str
  sample: deployed
run:
  description: The ID of the run, for C(drainswap report) and O(to).
  returned: when there was a run
  type: str
  sample: 20261123T221500.000Z
backend:
  description: The backend.
  returned: when there was a run, or in check mode
  type: str
  sample: mobile
image:
  description: The digest of the deployed image.
  returned: when there was a run, or in check mode
  type: str
  sample: sha256:9b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f586
reference:
  description: The name and the digest of the image, with which another site can deploy exactly this image.
  returned: when there was a run, or in check mode, and the image is from a registry
  type: str
  sample: registry.example.org/mobile:v2@sha256:9b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f5869b3ce17a40d2f586
servers:
  description: The servers whose containers the run replaced, or would replace.
  returned: when there was a run, or in check mode
  type: list
  elements: str
  sample: [mobile/app1, mobile/app1b]
msg:
  description: The result; if the task failed, also what to do.
  returned: always
  type: str
rc:
  description: The exit code of drainswap.
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
