/* Whether arguments are what they were, with the objects in them: all that containers, `__dict__` and slots hold, by
   identity. Included by `_native.c`. */

typedef struct {
    PyObject **items; /* borrowed until all are met */
    Py_ssize_t count, room, most;
    int are_taken;
    Py_ssize_t at;
    uintptr_t *met; /* containers and objects that were met: a table of `slots` places, a power of 2 */
    size_t slots, used;
    PyObject **inside; /* the same in order; what they hold is met in turn, since a recursion could be too deep */
    Py_ssize_t entered, places;
} Whole;

static int whole_one(Whole *whole, PyObject *value) {
    if (!whole->are_taken) return whole->at < whole->count && whole->items[whole->at++] == value;
    if (whole->at == whole->room) {
        Py_ssize_t room = whole->room == 0 ? 256 : 2 * whole->room;
        PyObject **items = whole->at >= whole->most ? NULL : PyMem_RawRealloc(whole->items, room * sizeof *items);
        if (items == NULL) return 0;
        whole->items = items;
        whole->room = room;
    }
    whole->items[whole->at++] = value;
    return 1;
}

static size_t whole_slot(uintptr_t *met, size_t slots, uintptr_t value) {
    size_t at = (size_t)((value >> 4) * 0x9E3779B97F4A7C15u) & (slots - 1);
    while (met[at] != 0 && met[at] != value) at = (at + 1) & (slots - 1);
    return at;
}

/* 1 for a container or object that is met for the first time, 0 for a known one, -1 without memory. */
static int whole_enters(Whole *whole, PyObject *value) {
    if (2 * whole->used >= whole->slots) {
        size_t slots = whole->slots == 0 ? 256 : 2 * whole->slots;
        uintptr_t *met = PyMem_RawCalloc(slots, sizeof *met);
        if (met == NULL) return -1;
        for (size_t i = 0; i < whole->slots; i++)
            if (whole->met[i] != 0) met[whole_slot(met, slots, whole->met[i])] = whole->met[i];
        PyMem_RawFree(whole->met);
        whole->met = met;
        whole->slots = slots;
    }
    size_t at = whole_slot(whole->met, whole->slots, (uintptr_t)value);
    if (whole->met[at] != 0) return 0;
    whole->met[at] = (uintptr_t)value;
    whole->used++;
    return 1;
}

/* Whether Python said that objects of a type are all in their `__dict__` and slots; its answer is None then. */
static int is_whole_type(PyTypeObject *kind) {
    PyTypeObject *meta = Py_TYPE(kind);
    if (!(kind->tp_flags & Py_TPFLAGS_HEAPTYPE)) return 0;
    if (meta->tp_hash != PyType_Type.tp_hash || meta->tp_richcompare != PyType_Type.tp_richcompare) return 0;
    PyObject *known = PyDict_GetItemWithError(UNCHANGING, (PyObject *)kind);
    if (known == NULL) UNKNOWN_TYPE = kind;
    return known == Py_None;
}

static int whole_meet(Whole *whole, PyObject *value);

static int whole_part(Whole *whole, PyObject *part) {
    return part == NULL ? whole_one(whole, (PyObject *)&PyCell_Type) : whole_meet(whole, part);
}

/* Functions, bound methods and cells, whose content may be replaced. */
static int is_callable_whole(PyTypeObject *kind) { return kind == &PyFunction_Type || kind == &PyMethod_Type || kind == &PyCell_Type; }

static int whole_callable(Whole *whole, PyObject *value) {
    if (PyCell_Check(value)) return whole_part(whole, PyCell_GET(value));
    if (PyMethod_Check(value)) return whole_part(whole, PyMethod_GET_FUNCTION(value)) && whole_part(whole, PyMethod_GET_SELF(value));
    PyFunctionObject *function = (PyFunctionObject *)value;
    PyObject *noted = function->func_dict;
    if (noted != NULL && PyDict_GET_SIZE(noted) == 0) noted = NULL; /* made when it was asked for */
    /* without `__name__` among its globals, as in `exec(text, {})`, it is of no module */
    PyObject *module = function->func_module == NULL ? (PyObject *)&PyCell_Type : function->func_module;
    PyObject *doc = function->func_doc == NULL ? (PyObject *)&PyCell_Type : function->func_doc;
    return whole_one(whole, function->func_code) && whole_one(whole, function->func_qualname) && whole_one(whole, module)
           && whole_one(whole, function->func_name) && whole_one(whole, doc)
           && whole_part(whole, function->func_defaults) && whole_part(whole, function->func_kwdefaults)
           && whole_part(whole, function->func_closure) && whole_part(whole, noted);
}

/* Whether an exception has nothing in C but what all have; a class with `__del__` would notice that it is held. */
static int is_plain_error(PyTypeObject *kind) {
    if (!PyType_FastSubclass(kind, Py_TPFLAGS_BASE_EXC_SUBCLASS) || kind->tp_finalize != NULL) return 0;
    while (kind->tp_flags & Py_TPFLAGS_HEAPTYPE) kind = kind->tp_base;
    return kind->tp_basicsize == sizeof(PyBaseExceptionObject);
}

static int whole_error(Whole *whole, PyObject *value) {
    PyBaseExceptionObject *error = (PyBaseExceptionObject *)value;
    if (error->args == NULL || !whole_meet(whole, error->args)) return 0;
    if (error->cause == NULL) return whole_one(whole, (PyObject *)&PyCell_Type);
    return whole_meet(whole, error->cause);
}

static int whole_object(Whole *whole, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    if (!whole_one(whole, (PyObject *)kind)) return 0; /* its class may be replaced */
    for (PyTypeObject *base = kind; base != NULL && base != &PyBaseObject_Type; base = base->tp_base)
        for (PyMemberDef *slot = base->tp_members; slot != NULL && slot->name != NULL; slot++) {
            if (slot->type != T_OBJECT_EX) continue;
            PyObject *held = *(PyObject **)((char *)value + slot->offset);
            if (!(held == NULL ? whole_one(whole, (PyObject *)base) : whole_meet(whole, held))) return 0;
        }
    if (kind->tp_dictoffset == 0) return 1;
    PyObject *held = PyObject_GenericGetDict(value, NULL);
    if (held == NULL) {
        PyErr_Clear();
        return 0;
    }
    int is_met = PyDict_CheckExact(held) && whole_meet(whole, held);
    Py_DECREF(held); /* the object has it */
    return is_met;
}

/* Meet a value; what it holds is met later. 0 where it differs, may change unseen, or there are too many. */
static int whole_meet(Whole *whole, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    if (!whole_one(whole, value)) return 0;
    if (is_scalar(kind) || value == Py_None) return 1;
    int is_container = kind == &PyDict_Type || kind == &PyList_Type || kind == &PyTuple_Type || kind == &PySet_Type || kind == &PyFrozenSet_Type;
    if (!(is_container || is_callable_whole(kind) || is_plain_error(kind) || is_whole_type(kind)))
        return UNKNOWN_TYPE == NULL && (!whole->are_taken || is_unchanging(value));
    int enters = whole_enters(whole, value);
    if (enters <= 0) return enters == 0;
    if (whole->entered == whole->places) {
        Py_ssize_t places = whole->places == 0 ? 64 : 2 * whole->places;
        PyObject **inside = PyMem_RawRealloc(whole->inside, places * sizeof *inside);
        if (inside == NULL) return 0;
        whole->inside = inside;
        whole->places = places;
    }
    whole->inside[whole->entered++] = value;
    return 1;
}

/* Meet all that a container or an object holds, and itself again as the end. */
static int whole_inside(Whole *whole, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    if (kind == &PyDict_Type) {
        PyObject *key, *item;
        for (Py_ssize_t place = 0; PyDict_Next(value, &place, &key, &item);)
            if (!whole_meet(whole, key) || !whole_meet(whole, item)) return 0;
    } else if (kind == &PyList_Type || kind == &PyTuple_Type) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++)
            if (!whole_meet(whole, PySequence_Fast_GET_ITEM(value, i))) return 0;
    } else if (kind == &PySet_Type || kind == &PyFrozenSet_Type) {
        PyObject *item;
        Py_hash_t hash;
        for (Py_ssize_t place = 0; _PySet_NextEntry(value, &place, &item, &hash);)
            if (!whole_meet(whole, item)) return 0;
    } else if (is_callable_whole(kind)) {
        if (!whole_callable(whole, value)) return 0;
    } else if ((is_plain_error(kind) && !whole_error(whole, value)) || !whole_object(whole, value)) {
        return 0;
    }
    return whole_one(whole, value);
}

/* As `whole_meet`, while no garbage is collected: a `__dict__` that is made would run any code. */
static int whole_meets(Whole *whole, PyObject *value) {
    int collects = PyGC_Disable(), is_met = whole_meet(whole, value);
    for (Py_ssize_t i = 0; is_met && i < whole->entered; i++) is_met = whole_inside(whole, whole->inside[i]);
    if (collects) PyGC_Enable();
    PyMem_RawFree(whole->met);
    PyMem_RawFree(whole->inside);
    return is_met;
}

/* whole(value, most): all objects in a value and in its objects, kept alive, by which it is known to be what it was; None
   where something in it may change unseen, or they are more than about `most`. */
static PyObject *whole(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    Py_ssize_t most = count == 2 ? PyLong_AsSsize_t(arguments[1]) : -1;
    if (most < 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "whole(value, most)");
        return NULL;
    }
    Whole all;
    for (;;) {
        all = (Whole){.are_taken = 1, .most = most};
        UNKNOWN_TYPE = NULL;
        if (whole_meets(&all, arguments[0])) break;
        PyMem_RawFree(all.items);
        if (UNKNOWN_TYPE == NULL || JUDGE_TYPE == NULL || !ask_about_type()) return left_to_python();
    }
    for (Py_ssize_t i = 0; i < all.at; i++) Py_INCREF(all.items[i]);
    PyObject *kept = PyTuple_New(all.at);
    for (Py_ssize_t i = 0; i < all.at; i++) {
        if (kept == NULL) Py_DECREF(all.items[i]);
        else PyTuple_SET_ITEM(kept, i, all.items[i]);
    }
    PyMem_RawFree(all.items);
    return kept;
}

/* is_whole(value, whole): whether it holds the very objects that it held then. */
static PyObject *is_whole(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyTuple_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "is_whole(value, whole)");
        return NULL;
    }
    Whole all = {.items = ((PyTupleObject *)arguments[1])->ob_item, .count = PyTuple_GET_SIZE(arguments[1])};
    UNKNOWN_TYPE = NULL;
    return PyBool_FromLong(whole_meets(&all, arguments[0]) && all.at == all.count);
}

/* ---- what arguments and an agent have in common ---- */

enum { MOST_PARTS = 200, PLACES_OF_PARTS = 512 };

/* The places in memory of the parts that were seen, without holding them. */
typedef struct {
    const void *places[PLACES_OF_PARTS];
    Py_ssize_t count;
} Parts;

/* Where a part is noted, or would be. */
static const void **place_of_part(Parts *parts, const void *part) {
    size_t at = ((size_t)part >> 4) % PLACES_OF_PARTS;
    while (parts->places[at] != NULL && parts->places[at] != part) at = (at + 1) % PLACES_OF_PARTS;
    return &parts->places[at];
}

/* What a part holds, a new list, dict values in it; NULL without an exception where it is not entered. */
static PyObject *inside_part(PyObject *part, PyObject *has_dict_alone) {
    PyTypeObject *kind = Py_TYPE(part);
    if (kind == &PyDict_Type) return PyDict_Values(part);
    if (kind == &PyList_Type || kind == &PyTuple_Type) return PySequence_List(part);
    PyObject *told = PyObject_CallOneArg(has_dict_alone, (PyObject *)kind);
    int is_entered = told == NULL ? -1 : PyObject_IsTrue(told);
    Py_XDECREF(told);
    PyObject *held = is_entered == 1 ? PyObject_GenericGetDict(part, NULL) : NULL, *inside = NULL;
    if (held != NULL) inside = PyDict_Values(held);
    Py_XDECREF(held);
    return inside;
}

/* Visit one part, taken from those that wait: note it, and have what it holds wait. 0, 1 where it is among those asked for, -1. */
static int visit_part(Parts *parts, PyObject *part, PyObject *waiting, PyObject *const *given, PyObject *found) {
    const void **place = place_of_part(parts, part);
    if (part == Py_None || is_scalar(Py_TYPE(part)) || *place != NULL) return 0;
    PyObject *agent = PyObject_CallOneArg(given[1], part);
    int is_agent = agent != Py_None, answer = agent == NULL ? -1 : 0;
    Py_XDECREF(agent);
    if (is_agent) return answer;
    *place = part;
    parts->count++;
    if (!PyTuple_CheckExact(part)) {
        PyObject *identity = PyLong_FromVoidPtr(part);
        answer = identity == NULL ? -1 : PySet_Check(found) ? PySet_Add(found, identity) : PySet_Contains(given[3], identity);
        Py_XDECREF(identity);
    }
    PyObject *inside = answer == 0 ? inside_part(part, given[2]) : NULL;
    if (inside != NULL && PyList_SetSlice(waiting, PyList_GET_SIZE(waiting), PyList_GET_SIZE(waiting), inside) < 0) answer = -1;
    Py_XDECREF(inside);
    return PyErr_Occurred() ? -1 : answer;
}

/* parts_within(values, agent_of, has_dict_alone, among): the ids of what may change in some values, up to 200, as a set; with a
   set in `among`, whether one of them is in that. */
static PyObject *parts_within(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 4 || !PyList_CheckExact(given[0]) || !(given[3] == Py_None || PySet_Check(given[3])))
        return PyErr_SetString(PyExc_TypeError, "parts_within(values, agent_of, has_dict_alone, among)"), NULL;
    Parts parts = {{NULL}, 0};
    PyObject *waiting = PySequence_List(given[0]), *found = given[3] == Py_None ? PySet_New(NULL) : Py_NewRef(Py_False);
    int met = waiting == NULL || found == NULL ? -1 : 0;
    while (met == 0 && PyList_GET_SIZE(waiting) > 0 && parts.count < MOST_PARTS) {
        Py_ssize_t last = PyList_GET_SIZE(waiting) - 1;
        PyObject *part = Py_NewRef(PyList_GET_ITEM(waiting, last));
        met = PyList_SetSlice(waiting, last, last + 1, NULL);
        if (met == 0) met = visit_part(&parts, part, waiting, given, found);
        Py_DECREF(part);
    }
    if (met != 0) Py_CLEAR(found);
    Py_XDECREF(waiting);
    return met == 1 ? Py_NewRef(Py_True) : found;
}
