package main

import _ "time/tzdata" // a schedule must not depend on which time zones the machine knows
