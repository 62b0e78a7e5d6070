/* Scalars that something else than an agent's own actions wrote to it, as events. Part of `_native.c`.

   The same as `emit_outside` and `AgentWrites` do in Python, which see to every other kind of value. What is told is decided
   before anything is changed, so that Python finds all as it was. */

/* The place of a name in a tuple of names; -1 where it is not there. */
static Py_ssize_t place_of_name(PyObject *names, PyObject *name) {
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *each = PyTuple_GET_ITEM(names, at);
        if (each == name || PyObject_RichCompareBool(each, name, Py_EQ) == 1) return at;
    }
    return -1;
}

enum { COUNTED_ITEMS = 96, MOST_AGENTS = 64 }; /* `_COUNTED_ITEMS` and `_MOST_AGENTS` */
enum { MARK_NUMBER = 5, MARK_VERSION, MARK_CONTAINERS, MARK_SNAPSHOTS, MARK_COUNTED, MARK_COUNTS, MARK_NAMES, MARK_SIZE }; /* of what `_Looked.list_compared` makes */

static PyObject *dict_of(PyObject *object);

/* The fields of an agent that its marks are compared with, a new reference: of one with slots, a new dict with those. */
static PyObject *present_of(PyObject *marks, PyObject *agent) {
    PyObject *names = PyList_GET_ITEM(marks, MARK_NAMES);
    return PyTuple_CheckExact(names) && PyTuple_GET_SIZE(names) == 0 ? dict_of(agent) : fields_by_names(agent, names);
}

/* What is compared of an agent that is looked at, if C knows all its marks; else NULL. */
static PyObject *plain_marks(PyObject *looked) {
    if (!IS_A(looked, LOOKED) || !PyDict_CheckExact(GET(looked, LOOKED_marks)) || !PyDict_CheckExact(GET(looked, LOOKED_pending)))
        return NULL;
    PyObject *marks = GET(looked, LOOKED_compared), *fields = GET(looked, LOOKED_fields);
    if (!PyList_CheckExact(marks) || PyList_GET_SIZE(marks) != MARK_SIZE || !PyAnySet_Check(fields)) return NULL;
    PyObject *names = PyList_GET_ITEM(marks, 1), *values = PyList_GET_ITEM(marks, 2);
    if (!PyTuple_CheckExact(names) || !PyTuple_CheckExact(values) || PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(values)) return NULL;
    return marks;
}

/* Take scalars for what fields held at the last look. 0, or -1 with an exception. */
static int mark_scalars(PyObject *looked, PyObject *changed) {
    PyObject *marks = plain_marks(looked);
    if (marks == NULL) return PyErr_SetString(PyExc_RuntimeError, "the marks of an agent changed meanwhile"), -1;
    PyObject *names = PyList_GET_ITEM(marks, 1), *values = PyList_GET_ITEM(marks, 2), *name, *value;
    PyObject *now = PyTuple_New(PyTuple_GET_SIZE(values));
    if (now == NULL) return -1;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(values); at++) PyTuple_SET_ITEM(now, at, Py_NewRef(PyTuple_GET_ITEM(values, at)));
    for (Py_ssize_t at = 0; PyDict_Next(changed, &at, &name, &value);) {
        Py_ssize_t place = place_of_name(names, name);
        if (place < 0) PyErr_SetString(PyExc_RuntimeError, "a field is not looked at any more");
        if (place < 0 || PyDict_SetItem(GET(looked, LOOKED_marks), name, value) < 0) return Py_DECREF(now), -1;
        PyObject *before = PyTuple_GET_ITEM(now, place);
        PyTuple_SET_ITEM(now, place, Py_NewRef(value));
        Py_DECREF(before);
    }
    return PyList_SetItem(marks, 2, now);
}

/* As `AgentWrites.take_writers` where the marks of these fields are scalars: who wrote them, a new dict; else Python is asked. */
static PyObject *writers_of(Lane *lane, PyObject *known, PyObject *target, PyObject *changed) {
    PyObject *tracker = GET(known, AGENT_tracker), *writes = IS_A(lane->between, BETWEEN) ? GET(lane->between, BETWEEN_writes) : NULL;
    PyObject *writers = NULL, *name, *value;
    if (writes == NULL || !IS_A(writes, WRITES) || !PyDict_CheckExact(GET(writes, WRITES__looked))) goto ask;
    if (GET(writes, WRITES__is_on) != Py_True || GET(writes, WRITES__has_threads) != Py_False) goto ask;
    PyObject *looked = PyDict_GetItemWithError(GET(writes, WRITES__looked), tracker);
    if (looked == NULL && PyDict_GET_SIZE(GET(writes, WRITES__looked)) >= MOST_AGENTS && !PyErr_Occurred()) return PyDict_New();
    PyObject *marks = looked == NULL ? NULL : plain_marks(looked);
    if (marks == NULL) goto ask;
    for (Py_ssize_t at = 0; PyDict_Next(changed, &at, &name, &value);)
        if (PySet_Contains(GET(looked, LOOKED_fields), name) != 1 || place_of_name(PyList_GET_ITEM(marks, 1), name) < 0
            || PyDict_GetItemWithError(GET(looked, LOOKED_marks), name) == NULL) goto ask;
    if ((writers = PyDict_New()) == NULL) return NULL;
    PyObject *pending = GET(looked, LOOKED_pending);
    for (Py_ssize_t at = 0; PyDict_Next(changed, &at, &name, &value);) {
        PyObject *before = PyDict_GetItemWithError(pending, name), *list = NULL;
        int is_moved_now = !is_same_scalar(PyDict_GetItemWithError(GET(looked, LOOKED_marks), name), value);
        if (before == Py_None || (before == NULL && !is_moved_now)) {
            list = NULL;
        } else if (before == NULL || PyTuple_CheckExact(before)) {
            list = before == NULL ? PyList_New(0) : PySequence_List(before);
            if (list == NULL || (is_moved_now && PyList_Append(list, Py_None) < 0) || PyDict_SetItem(writers, name, list) < 0) {
                Py_XDECREF(list);
                return Py_DECREF(writers), NULL;
            }
            Py_DECREF(list);
        }
        if (before != NULL && PyDict_DelItem(pending, name) < 0) return Py_DECREF(writers), NULL;
    }
    if (mark_scalars(looked, changed) < 0) return Py_DECREF(writers), NULL;
    return writers;
ask:
    if (PyErr_Occurred()) return NULL;
    PyObject *told = PyObject_CallMethod(lane->between, "take_writers", "OOO", known, target, changed), *as_lists = NULL;
    if (told == NULL || !PyDict_Check(told) || (as_lists = PyDict_New()) == NULL) return Py_XDECREF(told), NULL;
    for (Py_ssize_t at = 0; PyDict_Next(told, &at, &name, &value);) {
        PyObject *list = PySequence_List(value);
        if (list == NULL || PyDict_SetItem(as_lists, name, list) < 0) Py_CLEAR(as_lists);
        Py_XDECREF(list);
        if (as_lists == NULL) break;
    }
    Py_DECREF(told);
    return as_lists;
}

/* Whether any value was seen to change between actions: 1, 0, or -1. */
static int has_written_values(Lane *lane) {
    PyObject *written = PyObject_GetAttr(lane->probe, W__written);
    Py_ssize_t found = written == NULL ? -1 : PyObject_Size(written);
    Py_XDECREF(written);
    if (found != 0) return found < 0 ? -1 : 1;
    PyObject *objects = IS_A(lane->between, BETWEEN) ? GET(lane->between, BETWEEN_objects) : NULL;
    if (objects == NULL || !IS_A(objects, OBJECTS)) return -1;
    return GET(objects, OBJECTS_has_written) == Py_True;
}

enum { UNWRITTEN, WRITTEN, PERHAPS_WRITTEN };

/* Whether a value, no scalar, was seen to change between actions. */
static int how_written(Lane *lane, PyObject *value) {
    PyObject *identity = PyLong_FromVoidPtr(value), *written = PyObject_GetAttr(lane->probe, W__written), *held;
    int how = PERHAPS_WRITTEN;
    if (identity == NULL || written == NULL || !PyDict_CheckExact(written)) goto done;
    if (PyDict_GetItemWithError(written, identity) != NULL) goto done;
    PyObject *objects = GET(lane->between, BETWEEN_objects);
    if (!PyDict_CheckExact(GET(objects, OBJECTS__known))) goto done;
    held = PyDict_GetItemWithError(GET(objects, OBJECTS__known), identity);
    if (held == NULL || (IS_A(held, HELD) && GET(held, HELD_is_written) == Py_False)) how = UNWRITTEN;
    else if (IS_A(held, HELD) && PyWeakref_CheckRef(GET(held, HELD__refer)) && PyWeakref_GET_OBJECT(GET(held, HELD__refer)) == value)
        how = GET(held, HELD_is_written) == Py_True ? WRITTEN : PERHAPS_WRITTEN;
done:
    Py_XDECREF(identity);
    Py_XDECREF(written);
    if (PyErr_Occurred()) PyErr_Clear();
    return how;
}

/* Add names, a dict's or a list's, to a set that agents may share. 0, or -1 with an exception. */
static int add_names(PyObject **set, PyObject *names) {
    PyObject *name;
    Py_ssize_t at = 0;
    int has_all = PyDict_CheckExact(names) || PyList_GET_SIZE(names) == 0;
    while (has_all && PyDict_CheckExact(names) && PyDict_Next(names, &at, &name, NULL)) has_all = PySet_Contains(*set, name) == 1;
    if (has_all || PyErr_Occurred()) return has_all ? 0 : -1;
    PyObject *more = PyFrozenSet_New(names), *both = more == NULL ? NULL : PyNumber_Or(*set, more);
    Py_XDECREF(more);
    if (both != NULL) Py_SETREF(*set, both);
    return both == NULL ? -1 : 0;
}

/* `emit_outside` where only scalars differ, and objects that full states alone tell. `only` are the fields to look at, None for all, NULL for all that were written, of
   which those in `watched` count in any case. TOLD, also if there was nothing to tell; NOT_HERE for Python to do it; -1. */
static int tell_outside(Lane *lane, PyObject *known, PyObject *target, PyObject *only, int are_written, int is_ahead) {
    PyObject *tracker = GET(known, AGENT_tracker), *name, *value, *changed = NULL, *more = NULL, *writers = NULL, *payload = NULL;
    PyObject *objects = NULL;
    if (!IS_A(tracker, TRACKER) || lane->holder != NULL || (only != NULL && only != Py_None && !PyAnySet_Check(only))) return NOT_HERE;
    PyObject *turns = PyObject_GetAttr(lane->pipeline, W_turns), *used = turns == NULL ? NULL : PyObject_GetAttr(turns, W_is_used);
    Py_XDECREF(turns);
    Py_XDECREF(used);
    int written = has_written_values(lane), answer = NOT_HERE;
    PyObject *fields = used != Py_False || written < 0 ? NULL : fields_of(lane, tracker, target);
    if (fields == NULL) return PyErr_Occurred() ? (PyErr_Clear(), NOT_HERE) : NOT_HERE;
    PyObject *last = GET(tracker, TRACKER_last), *heavy = GET(tracker, TRACKER_heavy), *watched = GET(tracker, TRACKER_watched);
    PyObject *outside = GET(tracker, TRACKER_written_outside), *borrowed = GET(tracker, TRACKER_borrowed);
    PyObject *held[] = {Py_NewRef(tracker), Py_NewRef(last), Py_NewRef(heavy), Py_NewRef(watched), Py_NewRef(outside), Py_NewRef(borrowed)};
    if (PyDict_GET_SIZE(GET(tracker, TRACKER_probed)) > 0 || PyDict_GET_SIZE(GET(tracker, TRACKER_kept)) > PySet_GET_SIZE(heavy)) goto done;
    if ((changed = PyDict_New()) == NULL || (more = PyDict_New()) == NULL || (objects = PyList_New(0)) == NULL) goto done;
    Py_ssize_t at = 0, met = 0;
    while (PyDict_Next(fields, &at, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) goto done;
        Py_INCREF(name); /* an agent among them may be asked for its id */
        Py_INCREF(value);
        int is_large = PySet_GET_SIZE(heavy) > 0 && PySet_Contains(heavy, name) == 1, is_known = PyDict_Contains(last, name) == 1;
        int is_wanted = only == NULL || only == Py_None || PySet_Contains(only, name) == 1, how = SAME, is_plain = value == Py_None || is_scalar(Py_TYPE(value));
        met += is_large || is_known;
        if (is_large || (is_plain && is_wanted)) {
            how = is_large && is_wanted && are_written ? OTHER : compared(tracker, name, value);
        } else if (is_wanted) {
            int must_be_same = only != NULL || PySet_Contains(watched, name) == 1;
            how = are_written ? OTHER : must_be_same ? compared(tracker, name, value) : is_rewritten(tracker, name, value) ? OTHER : SAME;
            if (how == CHANGED) how = OTHER;
        }
        if (is_wanted && is_plain && how != OTHER) {
            if (are_written && (PySet_Contains(outside, name) == 1 || PyDict_Contains(borrowed, name) == 1)) how = OTHER;
            else if (how == CHANGED && PyDict_SetItem(changed, name, value) < 0) how = OTHER;
            else if (how == SAME && are_written && is_known && PyDict_SetItem(more, name, value) < 0) how = OTHER;
        }
        if (written && !is_plain && (is_large || is_known) && PySet_Contains(outside, name) != 1) {
            int how_it_was = how_written(lane, value);
            if (how_it_was == WRITTEN && is_large && !is_known && !are_written) how = PyList_Append(objects, name) < 0 ? OTHER : how;
            else if (how_it_was != UNWRITTEN) how = OTHER;
        }
        Py_DECREF(name);
        Py_DECREF(value);
        if (how == OTHER) goto done;
    }
    if (PyErr_Occurred() || met != PyDict_GET_SIZE(last) + PySet_GET_SIZE(heavy)) goto done; /* one is gone */
    answer = -1; /* from here on it is told here, or not at all */
    if (PyDict_Update(last, changed) < 0 || PyDict_Update(changed, more) < 0 || add_names(member(tracker, TRACKER_written_outside), objects) < 0
        || PyList_Sort(objects) < 0) goto done;
    if (PyDict_GET_SIZE(changed) == 0 && PyList_GET_SIZE(objects) == 0) {
        answer = TOLD;
        goto done;
    }
    if (add_names(member(tracker, TRACKER_watched), changed) < 0) goto done;
    writers = PyDict_GET_SIZE(changed) == 0 ? PyDict_New() : writers_of(lane, known, target, changed);
    if (writers == NULL) goto done;
    if ((payload = PyDict_New()) == NULL || PyDict_SetItem(payload, W_trigger, W_outside) < 0 || PyDict_SetItem(payload, W_changed, changed) < 0
        || (PyList_GET_SIZE(objects) > 0 && PyDict_SetItem(payload, W_objects, objects) < 0)
        || (PyDict_GET_SIZE(writers) > 0 && PyDict_SetItem(payload, W_writers, writers) < 0)
        || (is_ahead && PyDict_SetItemString(payload, "ahead", Py_True) < 0)) goto done;
    PyObject *binding = GET(known, AGENT_binding), *slots = GET(binding, BINDING_slots);
    PyObject *slot = PyDict_GetItemWithError(slots, OUTSIDE_KEY);
    slot = slot != NULL ? Py_NewRef(slot) : PyErr_Occurred() ? NULL : PyObject_CallMethod(binding, "slot", "si", "state_change", 20);
    PyObject *given[] = {slot, W_outside, payload}, *event = slot == NULL ? NULL : lane_emit_plain(lane, given, 3);
    Py_XDECREF(slot);
    if (event != NULL) answer = TOLD;
    Py_XDECREF(event);
done:
    Py_XDECREF(changed);
    Py_XDECREF(more);
    Py_XDECREF(objects);
    Py_XDECREF(writers);
    Py_XDECREF(payload);
    Py_DECREF(fields);
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) Py_DECREF(held[i]);
    if (answer == NOT_HERE) PyErr_Clear();
    return answer;
}

/* tell_outside(known, obj, only, are_written, is_ahead): whether `emit_outside` has no more to do. */
static PyObject *lane_tell_outside(Lane *lane, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 5 || !IS_A(arguments[0], AGENT) || !PyAnySet_Check(arguments[2])) Py_RETURN_FALSE;
    int told = tell_outside(lane, arguments[0], arguments[1], arguments[2], is_true(arguments[3]), is_true(arguments[4]));
    return told < 0 ? NULL : truth(told == TOLD);
}

/* Whether a container holds other objects than a snapshot of it. */
static int holds_others(PyObject *now, PyObject *before) {
    Held all = {((PyTupleObject *)before)->ob_item, PyTuple_GET_SIZE(before)};
    Py_ssize_t at = 0;
    return !meet_any(&all, now, &at, 0, 0) || at != all.count;
}

/* Whether a value is not what (identity, members, identity of the last) tells, as `_mark`. */
static int is_counted_otherwise(PyObject *now, PyObject *before) {
    if ((void *)now != (void *)as_number(PyTuple_GET_ITEM(before, 0))) return 1;
    PyTypeObject *kind = Py_TYPE(now);
    int has_order = kind == &PyList_Type || kind == DEQUE, is_sized = has_order || kind == &PyDict_Type || kind == &PyTuple_Type
                                                                     || kind == &PySet_Type || kind == &PyFrozenSet_Type;
    Py_ssize_t number = is_sized ? PyObject_Size(now) : 0;
    PyObject *last = NULL;
    if (number > COUNTED_ITEMS) {
        if (has_order && (last = PySequence_GetItem(now, number - 1)) == NULL) return 1;
        Py_XDECREF(last); /* the container has it */
    } else {
        PyObject *all = snapshot(NULL, now);
        int shows_all = all != Py_None;
        Py_XDECREF(all);
        if (shows_all) return 1;
        number = members_of(now, 0);
    }
    return number != (Py_ssize_t)as_number(PyTuple_GET_ITEM(before, 1)) || (void *)last != (void *)as_number(PyTuple_GET_ITEM(before, 2));
}

/* Whether a queue of asyncio or of threads is not what (mark of its items, unfinished tasks, class) tells, as `_OfQueue`. */
static int is_other_queue(PyObject *now, PyObject *before) {
    if (PyTuple_GET_SIZE(before) != 3 || (PyObject *)Py_TYPE(now) != PyTuple_GET_ITEM(before, 2)) return 1;
    PyObject *own = PyObject_GenericGetDict(now, NULL), *was = PyTuple_GET_ITEM(before, 0);
    if (own == NULL || !PyDict_CheckExact(own)) return PyErr_Clear(), Py_XDECREF(own), 1;
    PyObject *items = PyDict_GetItemWithError(own, W_queue), *unfinished = PyDict_GetItemWithError(own, W_unfinished_tasks);
    if (items == NULL) items = PyDict_GetItemWithError(own, W__queue);
    if (unfinished == NULL) unfinished = PyDict_GetItemWithError(own, W__unfinished_tasks);
    int is_other = items == NULL || unfinished == NULL || !PyLong_CheckExact(unfinished) || !PyLong_CheckExact(PyTuple_GET_ITEM(before, 1))
                   || PyObject_RichCompareBool(unfinished, PyTuple_GET_ITEM(before, 1), Py_EQ) != 1 || !PyTuple_Check(was);
    if (!is_other && PyTuple_CheckExact(was)) is_other = holds_others(items, was);
    else if (!is_other) is_other = PyTuple_GET_SIZE(was) < 3 || is_counted_otherwise(items, was);
    Py_DECREF(own);
    return is_other;
}

/* Whether attributes hold other containers than at the last look, or these other objects, by all that was in them. */
static int hold_others(PyObject *held, PyObject *names, PyObject *snapshots) {
    if (!PyTuple_CheckExact(names) || !PyTuple_CheckExact(snapshots) || PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(snapshots)) return 1;
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(names); place++) {
        PyObject *now = PyDict_GetItemWithError(held, PyTuple_GET_ITEM(names, place)), *before = PyTuple_GET_ITEM(snapshots, place);
        if (now == NULL || !PyTuple_Check(before)) return 1;
        if (PyTuple_CheckExact(before) ? holds_others(now, before) : is_other_queue(now, before)) return 1;
    }
    return 0;
}

/* Whether attributes hold other containers of objects than at the last look: (identity, members, identity of the last), as `_mark`. */
static int count_others(PyObject *held, PyObject *names, PyObject *counts) {
    if (!PyTuple_CheckExact(names) || !PyTuple_CheckExact(counts) || PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(counts)) return 1;
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(names); place++) {
        PyObject *now = PyDict_GetItemWithError(held, PyTuple_GET_ITEM(names, place)), *before = PyTuple_GET_ITEM(counts, place);
        if (now == NULL || !PyTuple_CheckExact(before) || PyTuple_GET_SIZE(before) != 3 || is_counted_otherwise(now, before)) return 1;
    }
    return 0;
}

/* Whether attributes hold other containers than at the last look. */
static int are_other_inside(PyObject *held, PyObject *marks) {
    return hold_others(held, PyList_GET_ITEM(marks, MARK_CONTAINERS), PyList_GET_ITEM(marks, MARK_SNAPSHOTS))
           || count_others(held, PyList_GET_ITEM(marks, MARK_COUNTED), PyList_GET_ITEM(marks, MARK_COUNTS));
}

/* The agent of marks, a new reference; NULL where it is gone. */
static PyObject *agent_of_marks(PyObject *marks) {
    PyObject *reference = PyList_GET_ITEM(marks, 0), *agent;
    if (!PyWeakref_Check(reference)) return Py_NewRef(reference); /* it allows no weak ones */
#if PY_VERSION_HEX >= 0x030D0000
    return PyWeakref_GetRef(reference, &agent) <= 0 ? NULL : agent;
#else
    agent = PyWeakref_GetObject(reference);
    return agent == Py_None ? NULL : Py_NewRef(agent);
#endif
}

/* The fields of an agent whose action did not end now, which were written and not told of yet, have this writer, too; NULL only
   asks. 1; 0 where Python has to look. */
static int note_writer(PyObject *tracker, PyObject *looked, PyObject *writer) {
    PyObject *marks = plain_marks(looked), *agent, *changed = NULL;
    if (marks == NULL || !IS_A(tracker, TRACKER) || PyLong_AsLong(GET(tracker, TRACKER_actions)) <= 0) return 0;
    if ((agent = agent_of_marks(marks)) == NULL) return PyErr_Clear(), 0;
    PyObject *present = present_of(marks, agent);
    PyObject *names = PyList_GET_ITEM(marks, 1), *values = PyList_GET_ITEM(marks, 2);
    PyObject *more = PyList_GET_ITEM(marks, 3), *identities = PyList_GET_ITEM(marks, 4), *pending = GET(looked, LOOKED_pending);
    int done = 0;
    if (present == NULL || !PyDict_CheckExact(present) || !PyTuple_CheckExact(more) || !PyTuple_CheckExact(identities)
        || PyTuple_GET_SIZE(more) != PyTuple_GET_SIZE(identities) || GET(tracker, TRACKER_failure) != Py_None
        || (changed = PyDict_New()) == NULL) goto done;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(more); at++)
        if ((void *)PyDict_GetItemWithError(present, PyTuple_GET_ITEM(more, at)) != (void *)as_number(PyTuple_GET_ITEM(identities, at)))
            goto done;
    if (are_other_inside(present, marks)) goto done;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *name = PyTuple_GET_ITEM(names, at), *now = PyDict_GetItemWithError(present, name);
        if (now == NULL || !(now == Py_None || is_scalar(Py_TYPE(now)))) goto done;
        if (!is_same_scalar(PyTuple_GET_ITEM(values, at), now) && PyDict_SetItem(changed, name, now) < 0) goto done;
    }
    PyObject *name, *now;
    for (Py_ssize_t at = 0; PyDict_Next(changed, &at, &name, &now);) {
        PyObject *before = PyDict_GetItemWithError(pending, name);
        if (before != NULL && before != Py_None && !PyTuple_CheckExact(before)) goto done;
        if (writer == NULL) continue;
        int is_unrecorded = is_rewritten(tracker, name, now), failed = 0;
        if (!is_unrecorded) {
            failed = before != NULL && PyDict_DelItem(pending, name) < 0; /* an action of its own, inside this one, told it */
        } else if (before == NULL || (before != Py_None && PySequence_Contains(before, writer) == 0)) {
            PyObject *longer = with_one(before == NULL ? NO_TUPLE : before, writer);
            failed = longer == NULL || PyDict_SetItem(pending, name, longer) < 0;
            Py_XDECREF(longer);
        }
        if (failed) goto done;
    }
    done = writer == NULL || mark_scalars(looked, changed) == 0;
done:
    Py_XDECREF(changed);
    Py_XDECREF(present);
    Py_DECREF(agent);
    if (PyErr_Occurred()) PyErr_Clear();
    return done;
}
