/* A mark of all that a value holds: 128 bits that stay the same while nothing in it changes. Included by `_native.c`.

   Unlike `whole`, it keeps nothing alive: scalars and arrays count by content, objects by their place in memory, their class and all
   that they hold, functions by their code and what they hold. Values whose content is not seen in this way, such as generators and
   locks, have no mark. */

enum { MOST_MARKED = 4096, LARGE_FOR_ONE = 256 }; /* values in one value, and the bytes that count as one more */

typedef struct {
    uint64_t one, two;
    Py_ssize_t left;
    Whole met; /* only its table of containers and objects */
    PyObject *waiting, *agent_of;
} Marking;

static void mark_word(Marking *marking, uint64_t word) {
    marking->one = (marking->one ^ word) * 0x9E3779B97F4A7C15u;
    marking->one ^= marking->one >> 29;
    marking->two = ((marking->two << 17 | marking->two >> 47) + word) * 0xC2B2AE3D27D4EB4Fu;
    marking->two ^= marking->two >> 31;
}

static void mark_bytes(Marking *marking, const void *bytes, Py_ssize_t size) {
    const char *at = bytes;
    mark_word(marking, (uint64_t)size);
    marking->left -= size / LARGE_FOR_ONE;
    for (uint64_t word; size > 0; at += 8, size -= 8) {
        word = 0;
        memcpy(&word, at, size < 8 ? (size_t)size : 8);
        mark_word(marking, word);
    }
}

static void mark_place(Marking *marking, const void *place) { mark_word(marking, (uint64_t)(uintptr_t)place); }

static int mark_text(Marking *marking, PyObject *text) {
    Py_ssize_t size = PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text);
    if (size / LARGE_FOR_ONE > marking->left) return 0;
    mark_word(marking, PyUnicode_KIND(text));
    mark_bytes(marking, PyUnicode_DATA(text), size);
    return 1;
}

/* A class, another one in its place, and the same one with other attributes. */
static void mark_class(Marking *marking, PyTypeObject *kind) {
    mark_place(marking, kind);
    mark_word(marking, kind->tp_version_tag);
}

static int mark_integer(Marking *marking, PyObject *number) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (!overflow) return mark_word(marking, (uint64_t)small), 1;
    PyObject *digits = PyNumber_ToBase(number, 16);
    if (digits == NULL) return 0;
    mark_text(marking, digits);
    Py_DECREF(digits);
    return 1;
}

/* Mark an array, or a number of numpy; a moment has bytes of one dimension, which do not tell its unit. */
static int mark_array(Marking *marking, PyObject *array, int is_number) {
    Py_buffer view;
    if (PyObject_GetBuffer(array, &view, PyBUF_FULL_RO) < 0) return 0;
    int is_plain = (!is_number || view.ndim == 0) && view.len / LARGE_FOR_ONE <= marking->left && view.format != NULL && strpbrk(view.format, "OP&") == NULL && PyBuffer_IsContiguous(&view, 'A');
    if (is_plain) {
        mark_bytes(marking, view.format, (Py_ssize_t)strlen(view.format));
        mark_bytes(marking, view.shape, view.ndim * (Py_ssize_t)sizeof *view.shape);
        mark_bytes(marking, view.strides, view.ndim * (Py_ssize_t)sizeof *view.strides);
        mark_bytes(marking, view.buf, view.len);
    }
    PyBuffer_Release(&view);
    return is_plain;
}

/* Mark a scalar. 1; 0 where it has no mark; -1 where it is none. */
static int mark_scalar(Marking *marking, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    mark_class(marking, kind);
    if (value == Py_None) return 1;
    if (kind == &PyBool_Type) return mark_word(marking, value == Py_True), 1;
    if (kind == &PyUnicode_Type) return mark_text(marking, value);
    if (kind == &PyLong_Type) return mark_integer(marking, value);
    if (kind == &PyFloat_Type || kind == &PyComplex_Type) {
        Py_complex number = {0, 0};
        if (kind == &PyComplex_Type) number = ((PyComplexObject *)value)->cval;
        else number.real = PyFloat_AS_DOUBLE(value);
        return mark_bytes(marking, &number, sizeof number), 1;
    }
    if (kind == &PyBytes_Type) {
        if (PyBytes_GET_SIZE(value) / LARGE_FOR_ONE > marking->left) return 0;
        return mark_bytes(marking, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)), 1;
    }
    if (PyType_Check(value)) return mark_class(marking, (PyTypeObject *)value), 1;
    if (kind->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        if (!Py_IS_TYPE(kind, ENUM_TYPE)) return -1;
        mark_place(marking, value); /* a member, which lives as long as its class */
        return 1;
    }
    if (strncmp(kind->tp_name, "numpy.", 6) != 0) return -1;
    if (strcmp(kind->tp_name, "numpy.ndarray") == 0) {
        mark_place(marking, value);
        return mark_array(marking, value, 0);
    }
    if (strncmp(kind->tp_name, "numpy.dtype", 11) != 0) return is_unchanging(value) && mark_array(marking, value, 1);
    Py_hash_t hash = PyObject_Hash(value);
    mark_word(marking, (uint64_t)hash);
    return hash != -1;
}

/* Have a part wait, or mark that it is missing. 0, or -1 with an exception. */
static int mark_later(Marking *marking, PyObject *part) {
    if (part == NULL) mark_word(marking, 0x6D697373696E67u);
    return part == NULL ? 0 : PyList_Append(marking->waiting, part);
}

static int mark_items_of_dict(Marking *marking, PyObject *mapping) {
    PyObject *key, *item;
    if (PyDict_GET_SIZE(mapping) > marking->left) return 0;
    mark_word(marking, (uint64_t)PyDict_GET_SIZE(mapping));
    for (Py_ssize_t at = 0; PyDict_Next(mapping, &at, &key, &item);)
        if (mark_later(marking, key) < 0 || mark_later(marking, item) < 0) return 0;
    return 1;
}

static int mark_attributes(Marking *marking, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    for (PyTypeObject *base = kind; base != NULL && base != &PyBaseObject_Type; base = base->tp_base)
        for (PyMemberDef *slot = base->tp_members; slot != NULL && slot->name != NULL; slot++)
            if (slot->type == T_OBJECT_EX && mark_later(marking, *(PyObject **)((char *)value + slot->offset)) < 0) return 0;
    if (kind->tp_dictoffset == 0) return 1;
    PyObject *held = PyObject_GenericGetDict(value, NULL);
    int is_marked = held != NULL && PyDict_CheckExact(held) && mark_items_of_dict(marking, held);
    Py_XDECREF(held);
    return is_marked;
}

/* Mark the items of a list, tuple, set or deque; `kind` is the builtin type, whose iterator runs no code of others. */
static int mark_sequence(Marking *marking, PyObject *items, PyTypeObject *kind, Py_ssize_t size) {
    if (size > marking->left) return 0;
    PyObject *each, *inside = kind->tp_iter(items);
    mark_word(marking, (uint64_t)size);
    int failed = inside == NULL ? -1 : 0;
    while (failed == 0 && (each = PyIter_Next(inside)) != NULL) {
        failed = mark_later(marking, each);
        Py_DECREF(each);
    }
    Py_XDECREF(inside);
    return failed == 0 && !PyErr_Occurred();
}

/* Mark a function, a bound method or a cell by the parts that `whole_callable` compares. */
static int mark_callable(Marking *marking, PyObject *value) {
    if (PyCell_Check(value)) return mark_later(marking, PyCell_GET(value)) == 0;
    if (PyMethod_Check(value))
        return mark_later(marking, PyMethod_GET_FUNCTION(value)) == 0 && mark_later(marking, PyMethod_GET_SELF(value)) == 0;
    PyFunctionObject *function = (PyFunctionObject *)value;
    PyObject *noted = function->func_dict;
    if (noted != NULL && PyDict_GET_SIZE(noted) == 0) noted = NULL; /* made when it was asked for */
    mark_place(marking, function->func_code);
    PyObject *parts[] = {function->func_qualname, function->func_module, function->func_defaults, function->func_kwdefaults, function->func_closure, noted,
                         function->func_name, function->func_doc};
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++)
        if (mark_later(marking, parts[at]) < 0) return 0;
    return 1;
}

/* The builtin container from which a class is derived, if its objects have that one's items and attributes only; NULL of others. */
static PyTypeObject *container_below(PyTypeObject *kind) {
    PyTypeObject *meta = Py_TYPE(kind);
    if (meta->tp_hash != PyType_Type.tp_hash || meta->tp_richcompare != PyType_Type.tp_richcompare) return NULL;
    PyObject *known = PyDict_GetItemWithError(UNCHANGING, (PyObject *)kind);
    return known != NULL && PyType_Check(known) ? (PyTypeObject *)known : NULL;
}

/* Mark the items of a builtin container, or of one of a derived class. */
static int mark_items(Marking *marking, PyObject *value, PyTypeObject *kind) {
    if (kind == &PyDict_Type) return mark_items_of_dict(marking, value);
    if (kind == &PyList_Type || kind == &PyTuple_Type) return mark_sequence(marking, value, kind, Py_SIZE(value));
    if (kind == &PySet_Type || kind == &PyFrozenSet_Type) return mark_sequence(marking, value, kind, PySet_GET_SIZE(value));
    return -1;
}

/* Mark a container or an object, and have what it holds wait. 0 where it has no mark. */
static int mark_inside(Marking *marking, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    mark_place(marking, value);
    int is_marked = mark_items(marking, value, kind);
    if (is_marked >= 0) return is_marked;
    if (kind == DEQUE) return mark_sequence(marking, value, kind, Py_SIZE(value)); /* its `maxlen` never changes */
    if (kind == DEFAULTDICT) {
        PyObject *factory = PyObject_GetAttr(value, W_default_factory);
        is_marked = factory != NULL && mark_later(marking, factory) == 0;
        Py_XDECREF(factory);
        return is_marked && mark_items_of_dict(marking, value);
    }
    if (is_callable_whole(kind)) return mark_callable(marking, value);
    if (is_whole_type(kind)) return mark_attributes(marking, value);
    PyTypeObject *base = container_below(kind);
    return base != NULL && mark_items(marking, value, base) == 1 && mark_attributes(marking, value);
}

/* Mark one of the values that wait. 1, 0 where it has no mark, perhaps with an exception. */
static int mark_next(Marking *marking, PyObject *value) {
    if (--marking->left < 0) return 0;
    int is_marked = mark_scalar(marking, value);
    if (is_marked >= 0) return is_marked;
    int enters = whole_enters(&marking->met, value);
    if (enters <= 0) return mark_place(marking, value), enters == 0;
    if (Py_TYPE(value)->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        PyObject *agent = PyObject_CallOneArg(marking->agent_of, value);
        UNKNOWN_TYPE = NULL; /* whatever code that ran */
        if (agent != Py_None) {
            mark_place(marking, value);
            is_marked = agent != NULL && PyUnicode_CheckExact(agent) && mark_text(marking, agent);
            Py_XDECREF(agent);
            return is_marked;
        }
        Py_DECREF(agent);
    }
    return mark_inside(marking, value);
}

static int mark_all(Marking *marking, PyObject *value) {
    int is_marked = (marking->waiting = PyList_New(0)) != NULL && mark_later(marking, value) == 0;
    for (Py_ssize_t last; is_marked && (last = PyList_GET_SIZE(marking->waiting)) > 0;) {
        PyObject *each = Py_NewRef(PyList_GET_ITEM(marking->waiting, last - 1));
        is_marked = PyList_SetSlice(marking->waiting, last - 1, last, NULL) == 0 && mark_next(marking, each);
        Py_DECREF(each);
    }
    Py_CLEAR(marking->waiting);
    PyMem_RawFree(marking->met.met);
    return is_marked;
}

/* mark(value, fields, agent_of): 16 bytes that stay the same while the value, the places of the objects in the fields around it, and
   all that it holds stay what they are; None where something in it may change unseen. */
static PyObject *mark(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 3) return PyErr_SetString(PyExc_TypeError, "mark(value, fields, agent_of)"), NULL;
    if (!PyDict_CheckExact(given[1])) Py_RETURN_NONE;
    Marking begun = {.one = 1, .two = 2, .left = MOST_MARKED, .agent_of = given[2]};
    mark_word(&begun, MARKS_SINCE);
    PyObject *name, *field;
    for (Py_ssize_t at = 0; PyDict_Next(given[1], &at, &name, &field);)
        if (field != Py_None && !is_scalar(Py_TYPE(field)) && PyUnicode_CheckExact(name)) {
            mark_text(&begun, name);
            mark_place(&begun, field);
        }
    for (;;) {
        Marking marking = begun;
        UNKNOWN_TYPE = NULL;
        if (mark_all(&marking, given[0])) {
            uint64_t words[] = {marking.one, marking.two};
            return PyBytes_FromStringAndSize((const char *)words, sizeof words);
        }
        if (PyErr_Occurred() || UNKNOWN_TYPE == NULL || JUDGE_TYPE == NULL || !ask_about_type()) return left_to_python();
    }
}
