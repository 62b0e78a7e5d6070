/* The pass of `content_digest.py` over the content of a value: the steps of containers, of scalars, and of objects that have only
   attributes, of which most values are made. All other steps are Python's. Included by `_native.c`. */

enum { LEAST_MADE = 16, MOST_MADE_CHARS = 200, HEAD_OF_MADE = 4, LEAST_SECRET = 7, LONGEST_ASKED = 256, MOST_FLAT = 200, SCALARS_A_NODE = 16, LEAST_KEPT_APART = 64, MOST_TEXTS = 4096 };
enum { BYTES_LOOKED_AT = 8000000, NODES_ASKED_AT = 100, FEW_NODES = 64, NEAR_NODES = 200 };
static const double FIRST_MOMENT = 946684800.0, AFTER_MOMENTS = 4102444800.0;

enum {
    OF_AGENT_OF, OF_AGENTS, OF_BEGUN, OF_CLOSED, OF_HAS_CODE, OF_HIDES, OF_IS_OF_OBJECT, OF_KEPT, OF_LEAVES_OUT_CODE, OF_MADE, OF_MARKS,
    OF_MAY_HOLD_MADE, OF_MOST_NODES, OF_MOST_WITH_AGENTS, OF_NODES, OF_OPEN, OF_ORDER, OF_OUT, OF_OWNER, OF_PLACES, OF_REACHED, OF_SIZE_BYTES, OF_STANDS, OF_STEPS, SLOTS_OF_PASS
};
static const char *const SLOT_NAMES[SLOTS_OF_PASS] = {
    "_agent_of", "_agents", "_begun", "_closed", "has_code", "_hides", "_is_of_object", "_kept", "_leaves_out_code", "_made", "_marks",
    "may_hold_made", "_most_nodes", "_most_with_agents", "_nodes", "_open", "_order", "_out", "_owner", "_places", "_reached", "_size_bytes", "_stands", "_steps"
};
enum { STANDS_MEMBERS, STANDS_NAMES, SLOTS_OF_STANDS };
static const char *const NAMES_IN_STANDS[SLOTS_OF_STANDS] = {"_members", "_names"};
enum { PLAN_BASE, PLAN_CARRIED, PLAN_HAS_WAITERS, PLAN_HEAD, PLAN_IS_NAMED, PLAN_IS_SIMPLE, PLAN_IS_VALUE, PLAN_LAZY, FACTS_OF_PLAN };
static const char *const FACT_NAMES[FACTS_OF_PLAN] = {"base", "carried", "has_waiters", "head", "is_named", "is_simple", "is_value", "lazy"};
enum { PIECES_ALGORITHM, PIECES_HAS_CODE, PIECES_LABEL, PIECES_MAPPING, PIECES_MEMBERS, PIECES_ORDERED, PIECES_RAW, FACTS_OF_PIECES };
static const char *const NAMES_OF_PIECES[FACTS_OF_PIECES] = {"algorithm", "has_code", "label", "mapping", "members", "ordered", "raw"};
enum { STEP_VISIT, STEP_HIDE, STEP_PAIRS, STEP_VALUES, STEP_CLOSE, STEP_ATTRIBUTES, STEP_MAPPING, KNOWN_STEPS };
static const char *const STEP_NAMES[KNOWN_STEPS] = {"_visit", "_hide", "_next_pairs", "_next_values", "_close", "_attributes", "_pairs"};
enum {
    CALL_COUNT, CALL_TEXT, CALL_SCALAR, CALL_INTEGER, CALL_FLAT, CALL_NO_AGENT, CALL_BEGIN_OBJECT, CALL_OBJECT, CALL_PIECES, CALL_IS_HARMLESS,
    CALLS_OF_PASS
};
static const char *const METHOD_NAMES[CALLS_OF_PASS] = {
    "_count", "_text", "_scalar", "_integer", "_flat", "_no_agent", "_begin_object", "_object", "_pieces", "_is_harmless"
};

static PyTypeObject *PASS_TYPE, *PLAN_TYPE, *STANDS_TYPE, *REACHED_TYPE, *PIECES_TYPE, *NAME_TYPE;
static Py_ssize_t SLOT_AT[SLOTS_OF_PASS], SLOT_IN_STANDS[SLOTS_OF_STANDS], REACHED_PLACES, FACT_AT[FACTS_OF_PLAN], PIECE_AT[FACTS_OF_PIECES];
static PyObject *STEP[KNOWN_STEPS], *METHOD[CALLS_OF_PASS];
static PyObject *SHORT_DIGEST, *IMPORTED, *WRITE_JSON, *WRITE_OPTIONS, *DIRECTORIES, *PLANS, *STORAGES; /* as `learn_pass` was given them */
static PyObject *NAMED_OF, *MODULE_NAME, *USUAL_ALGORITHM, *WAYS, *READERS, *CODECS_OF_USERS;                            /* these, too */
static PyObject *W_text, *W_is_harmless, *W_is_denied, *W_of_value, *W_of_name;
static PyObject *ADVISER, *CLEAN_TEXTS, *DENIED_KEYS; /* who hides secrets, and what it said of texts and of keys */

#define IN_SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define IN_PASS(pass, slot) IN_SLOT(pass, SLOT_AT[slot])
#define OF_PLAN(plan, fact) PyTuple_GET_ITEM(plan, FACT_AT[fact])
#define OF_PIECES(pieces, fact) PyTuple_GET_ITEM(pieces, PIECE_AT[fact])

static int put_out(PyObject *pass, const char *bytes, Py_ssize_t size) {
    PyObject *out = IN_PASS(pass, OF_OUT);
    Py_ssize_t before = PyByteArray_GET_SIZE(out);
    if (PyByteArray_Resize(out, before + size) < 0) return -1;
    memcpy(PyByteArray_AS_STRING(out) + before, bytes, (size_t)size);
    return 0;
}

/* Write a head of at most two signs, a number and the sign after it. */
static int put_number_in(PyObject *pass, const char *head, unsigned long long number, int base, char last) {
    char text[32], *at = text + sizeof text;
    *--at = last;
    do *--at = "0123456789abcdef"[number % (unsigned)base];
    while ((number /= (unsigned)base) > 0);
    size_t size = strlen(head);
    at -= size;
    memcpy(at, head, size);
    return put_out(pass, at, text + sizeof text - at);
}

static int put_head(PyObject *pass, const char *head, Py_ssize_t number) {
    return put_number_in(pass, head, (unsigned long long)number, 10, ':');
}

/* Call a method of the pass for what it does; -1 with an exception. */
static int have_done(PyObject *pass, int method, PyObject *one, PyObject *other) {
    PyObject *done = PyObject_CallFunctionObjArgs(METHOD[method], pass, one, other, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int add_to(PyObject *pass, int slot, Py_ssize_t more) {
    Py_ssize_t now = PyLong_AsSsize_t(IN_PASS(pass, slot));
    PyObject *sum = now == -1 && PyErr_Occurred() ? NULL : PyLong_FromSsize_t(now + more);
    if (sum == NULL) return -1;
    Py_SETREF(IN_PASS(pass, slot), sum);
    return 0;
}

/* As `_count`, which is asked where a limit may be near. */
static int count_nodes(PyObject *pass, Py_ssize_t nodes) {
    Py_ssize_t now = PyLong_AsSsize_t(IN_PASS(pass, OF_NODES)) + nodes;
    PyObject *with_agents = IN_PASS(pass, OF_MOST_WITH_AGENTS);
    int is_near = now % NODES_ASKED_AT == 0 || now > PyLong_AsSsize_t(IN_PASS(pass, OF_MOST_NODES))
        || PyByteArray_GET_SIZE(IN_PASS(pass, OF_OUT)) + PyLong_AsSsize_t(IN_PASS(pass, OF_SIZE_BYTES)) > BYTES_LOOKED_AT
        || (with_agents != Py_None && PySet_GET_SIZE(IN_PASS(pass, OF_AGENTS)) > 0 && now > PyLong_AsSsize_t(with_agents));
    if (PyErr_Occurred()) return -1;
    if (!is_near) return add_to(pass, OF_NODES, nodes);
    PyObject *count = PyLong_FromSsize_t(nodes);
    int failed = count == NULL ? -1 : have_done(pass, CALL_COUNT, count, NULL);
    Py_XDECREF(count);
    return failed;
}

static int begin_asking(PyObject *hides) {
    if (ADVISER == hides && CLEAN_TEXTS != NULL) return 0;
    Py_XSETREF(ADVISER, Py_NewRef(hides));
    Py_XSETREF(CLEAN_TEXTS, PySet_New(NULL));
    Py_XSETREF(DENIED_KEYS, PyDict_New());
    return CLEAN_TEXTS == NULL || DENIED_KEYS == NULL ? -1 : 0;
}

/* Whether a text stays as it is where secrets are hidden; 0 means that Python has to write it, -1 an exception. */
static int is_clean_text(PyObject *hides, PyObject *text) {
    if (hides == Py_None || PyUnicode_GET_LENGTH(text) < LEAST_SECRET) return 1;
    if (begin_asking(hides) < 0) return -1;
    int is_known = PySet_Contains(CLEAN_TEXTS, text);
    if (is_known != 0) return is_known;
    PyObject *clean = PyObject_CallMethodOneArg(hides, W_text, text);
    int is_same = clean == NULL ? -1 : clean == text;
    Py_XDECREF(clean);
    if (is_same > 0 && ADVISER == hides) {
        if (PySet_GET_SIZE(CLEAN_TEXTS) >= MOST_TEXTS && PySet_Clear(CLEAN_TEXTS) < 0) return -1;
        if (PySet_Add(CLEAN_TEXTS, text) < 0) return -1;
    }
    return is_same;
}

static int holds_bytes(const char *at, Py_ssize_t size, const char *wanted, Py_ssize_t length) {
    for (const char *end = at + size; (at = memchr(at, *wanted, (size_t)(end - at))) != NULL; at++)
        if (end - at >= length && memcmp(at, wanted, (size_t)length) == 0) return 1;
    return 0;
}

static int are_hexadecimal(int kind, const void *data, Py_ssize_t at, int count) {
    for (int i = 0; i < count; i++) {
        Py_UCS4 sign = PyUnicode_READ(kind, data, at + i), letter = sign | 32;
        if (!((sign >= '0' && sign <= '9') || (letter >= 'a' && letter <= 'f'))) return 0;
    }
    return 1;
}

/* Whether a text goes on as a moment does after its year. */
static int is_rest_of_moment(int kind, const void *data, Py_ssize_t at) {
    static const char form[] = "-00-00T00:00:00";
    for (int i = 0; form[i] != 0; i++) {
        Py_UCS4 sign = PyUnicode_READ(kind, data, at + i);
        int fits = form[i] == '0' ? Py_UNICODE_ISDECIMAL(sign) : sign == (Py_UCS4)form[i] || (form[i] == 'T' && sign == ' ');
        if (!fits) return 0;
    }
    return 1;
}

/* Whether a text has the form of an id or of a moment, as `any_may_be_made` says. */
static int may_be_made(PyObject *text) {
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    if (size < LEAST_MADE || size > MOST_MADE_CHARS) return 0;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t at = 0; at + LEAST_MADE - 2 <= size;) {
        int are_digits = 0;
        while (are_digits < HEAD_OF_MADE && are_hexadecimal(kind, data, at + HEAD_OF_MADE - 1 - are_digits, 1)) are_digits++;
        if (are_digits < HEAD_OF_MADE) {
            at += HEAD_OF_MADE - are_digits; /* past the last sign that is none */
            continue;
        }
        Py_ssize_t rest = size - at;
        if (rest >= 16 && are_hexadecimal(kind, data, at + 4, 12)) return 1;
        if (are_hexadecimal(kind, data, at + 4, 4) && PyUnicode_READ(kind, data, at + 8) == '-' && are_hexadecimal(kind, data, at + 9, 4)
            && PyUnicode_READ(kind, data, at + 13) == '-')
            return 1;
        if (rest >= 19 && is_rest_of_moment(kind, data, at + 4)) return 1;
        at++;
    }
    return 0;
}

static int is_moment(PyObject *number) { return PyFloat_AS_DOUBLE(number) >= FIRST_MOMENT && PyFloat_AS_DOUBLE(number) < AFTER_MOMENTS; }

/* As `_takes`: 1 where an id or a moment is collected, -1 with an exception. */
static int take_made(PyObject *pass, PyObject *value) {
    PyObject *made = IN_PASS(pass, OF_MADE);
    if (IN_PASS(pass, OF_BEGUN) != Py_None) return 0;
    Py_SETREF(IN_PASS(pass, OF_MAY_HOLD_MADE), Py_NewRef(Py_True));
    if (made == Py_None) return 0;
    return PyList_Append(made, value) < 0 ? -1 : 1;
}

/* As `_text`. */
static int put_text(PyObject *pass, PyObject *text) {
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_COMPACT_ASCII(text) && size <= LONGEST_ASKED && PyDict_GET_SIZE(DIRECTORIES) == 0) {
        const char *bytes = (const char *)PyUnicode_1BYTE_DATA(text);
        int is_left = (size == 8 && memcmp(bytes, "__main__", 8) == 0) || holds_bytes(bytes, size, " at 0x", 6);
        int is_clean = is_left ? 0 : is_clean_text(IN_PASS(pass, OF_HIDES), text);
        if (is_clean < 0) return -1;
        if (is_clean) {
            int is_taken = may_be_made(text) ? take_made(pass, text) : 0;
            if (is_taken != 0) return is_taken < 0 ? -1 : put_out(pass, "v", 1);
            return put_head(pass, "s", size) < 0 ? -1 : put_out(pass, bytes, size);
        }
    }
    return have_done(pass, CALL_TEXT, text, NULL);
}

/* As `_integer`. */
static int put_integer(PyObject *pass, PyObject *value) {
    int is_beyond;
    long long number = PyLong_AsLongLongAndOverflow(value, &is_beyond);
    if (number == -1 && PyErr_Occurred()) return -1;
    if (is_beyond || number == LLONG_MIN) return have_done(pass, CALL_INTEGER, value, NULL);
    return number < 0 ? put_number_in(pass, "i-", (unsigned long long)-number, 16, ';') : put_number_in(pass, "i", (unsigned long long)number, 16, ';');
}

static int put_float(PyObject *pass, PyObject *value) {
    double number = PyFloat_AS_DOUBLE(value);
    int is_taken = is_moment(value) ? take_made(pass, value) : 0;
    if (is_taken != 0) return is_taken < 0 ? -1 : put_out(pass, "v", 1);
    if (number != number) return put_out(pass, "dnan     ", 9);
    uint64_t bits;
    char text[9] = "d";
    memcpy(&bits, &number, sizeof bits);
    for (int i = 0; i < 8; i++) text[8 - i] = (char)(bits >> (8 * i) & 255);
    return put_out(pass, text, 9);
}

static int is_scalar_of_pass(PyObject *value) { return value == Py_None || is_scalar(Py_TYPE(value)) || PyBytes_CheckExact(value); }

/* As `_scalar`. */
static int put_scalar(PyObject *pass, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    if (kind == &PyUnicode_Type) return put_text(pass, value);
    if (kind == &PyLong_Type) return put_integer(pass, value);
    if (kind == &PyFloat_Type) return put_float(pass, value);
    if (kind != &PyBytes_Type) return put_out(pass, value == Py_None ? "N" : value == Py_True ? "T" : "F", 1);
    if (put_head(pass, "b", PyBytes_GET_SIZE(value)) < 0) return -1;
    return put_out(pass, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
}

typedef struct {
    Py_ssize_t count;
    int is_flat, is_counting, is_finite, may_be_made;
} Flat;

static void look_at_scalar(Flat *flat, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    flat->count++;
    if (kind == &PyUnicode_Type) {
        flat->is_counting = 0;
        flat->may_be_made |= may_be_made(value);
    } else if (kind == &PyFloat_Type) {
        flat->is_counting = 0;
        flat->may_be_made |= is_moment(value);
        flat->is_finite &= isfinite(PyFloat_AS_DOUBLE(value)) != 0;
    } else {
        flat->is_flat &= kind == &PyLong_Type || kind == &PyBool_Type || value == Py_None;
    }
}

/* Python's answer: 1 for yes, 0 for no, -1 with an exception; takes the answer. */
static int as_answer(PyObject *answer) {
    int is_yes = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return is_yes;
}

static PyObject *values_of(PyObject *container) {
    return PyDict_CheckExact(container) ? PyDict_Values(container) : Py_NewRef(container);
}

static int flat_by_python(PyObject *pass, PyObject *container, const char *head) {
    PyObject *values = values_of(container), *begin = PyBytes_FromString(head), *answer = NULL;
    if (values != NULL && begin != NULL) answer = PyObject_CallFunctionObjArgs(METHOD[CALL_FLAT], pass, container, values, begin, NULL);
    Py_XDECREF(begin);
    Py_XDECREF(values);
    return as_answer(answer);
}

static int is_harmless(PyObject *pass, PyObject *hides, PyObject *container, PyObject *data) {
    PyObject *names = PyDict_CheckExact(container) ? Py_NewRef(container) : PyTuple_New(0);
    int is_yes = names == NULL ? -1 : as_answer(PyObject_CallMethodObjArgs(hides, W_is_harmless, names, data, NULL));
    Py_XDECREF(names);
    if (is_yes != 0) return is_yes;
    PyObject *values = values_of(container);
    is_yes = values == NULL ? -1 : as_answer(PyObject_CallFunctionObjArgs(METHOD[CALL_IS_HARMLESS], pass, container, values, data, NULL));
    Py_XDECREF(values);
    return is_yes;
}

/* As `_flat`, of a list, a tuple or a dict by names that nobody else changes: 1 written, 0 not flat, -1 with an exception. */
static int put_flat(PyObject *pass, PyObject *container, const char *head) {
    Flat flat = {0, 1, !PyDict_CheckExact(container), 1, 0};
    if (PyDict_CheckExact(container)) {
        PyObject *key, *item;
        for (Py_ssize_t at = 0; flat.is_flat && PyDict_Next(container, &at, &key, &item);) {
            look_at_scalar(&flat, item);
            flat.may_be_made |= may_be_made(key);
        }
    } else {
        for (Py_ssize_t i = 0; flat.is_flat && i < PySequence_Fast_GET_SIZE(container); i++)
            look_at_scalar(&flat, PySequence_Fast_GET_ITEM(container, i));
    }
    if (!flat.is_flat) return 0;
    if (flat.count > MOST_FLAT) return flat_by_python(pass, container, head);
    if (flat.may_be_made && !flat.is_counting) {
        if (IN_PASS(pass, OF_BEGUN) == Py_None) Py_SETREF(IN_PASS(pass, OF_MAY_HOLD_MADE), Py_NewRef(Py_True));
        if (IN_PASS(pass, OF_MADE) != Py_None) return 0;
    }
    if (!flat.is_finite) return 0;
    if (!ask_memory_for(container)) return -1;
    PyObject *data = PyObject_CallFunctionObjArgs(WRITE_JSON, container, Py_None, WRITE_OPTIONS, NULL), *hides = IN_PASS(pass, OF_HIDES);
    if (data == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear(); /* a lone surrogate, a large integer */
        return 0;
    }
    int is_yes = flat.is_counting || hides == Py_None ? 1 : is_harmless(pass, hides, container, data);
    if (is_yes > 0 && count_nodes(pass, flat.count / SCALARS_A_NODE) < 0) is_yes = -1;
    if (is_yes > 0) {
        const char *bytes = PyBytes_AS_STRING(data);
        Py_ssize_t size = PyBytes_GET_SIZE(data);
        if (PyDict_GET_SIZE(DIRECTORIES) > 0 || holds_bytes(bytes, size, " at 0x", 6) || holds_bytes(bytes, size, "\"__main__\"", 10))
            Py_SETREF(data, PyObject_CallOneArg(IMPORTED, data));
        char begin[4] = {'j', *head, 0, 0};
        if (data == NULL || put_head(pass, begin, PyBytes_GET_SIZE(data)) < 0 || put_out(pass, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) < 0)
            is_yes = -1;
    }
    Py_XDECREF(data);
    return is_yes;
}

/* Add a step: what it is done with, and then the step, which is taken first. */
static int add_step(PyObject *pass, PyObject *argument, PyObject *step) {
    PyObject *steps = IN_PASS(pass, OF_STEPS);
    return argument == NULL || PyList_Append(steps, argument) < 0 || PyList_Append(steps, step) < 0 ? -1 : 0;
}

static PyObject *taken_step(PyObject *steps) {
    Py_ssize_t last = PyList_GET_SIZE(steps) - 1;
    if (last < 0) return PyErr_Format(PyExc_IndexError, "no step is left");
    PyObject *step = PyList_GET_ITEM(steps, last); /* the list's own reference goes on to the caller */
    Py_SET_SIZE(steps, last);
    return step;
}

/* As `_enter`: 1 where a value begins, 0 where it was written, -1 with an exception. */
static int enter_value(PyObject *pass, PyObject *value) {
    PyObject *identity = PyLong_FromVoidPtr(value), *open = IN_PASS(pass, OF_OPEN);
    if (identity == NULL) return -1;
    int begins = -1;
    PyObject *known = PyDict_GetItemWithError(IN_PASS(pass, OF_CLOSED), identity);
    PyObject *depth = known != NULL ? NULL : PyDict_GetItemWithError(open, identity);
    if (known != NULL) {
        PyObject *bytes = PyTuple_GET_ITEM(known, 1);
        begins = put_out(pass, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)) < 0 ? -1 : 0;
    } else if (depth != NULL) {
        Py_ssize_t up = PyDict_GET_SIZE(open) - PyLong_AsSsize_t(depth);
        begins = add_to(pass, OF_MARKS, 1) < 0 || put_number_in(pass, "^", (unsigned long long)up, 10, ';') < 0 ? -1 : 0;
    } else if (!PyErr_Occurred()) {
        PyObject *level = PyLong_FromSsize_t(PyDict_GET_SIZE(open)), *steps = IN_PASS(pass, OF_STEPS);
        PyObject *start = PyLong_FromSsize_t(PyByteArray_GET_SIZE(IN_PASS(pass, OF_OUT)));
        if (level != NULL && start != NULL && PyDict_SetItem(open, identity, level) == 0 && PyList_Append(steps, IN_PASS(pass, OF_MARKS)) == 0
            && PyList_Append(steps, start) == 0 && add_step(pass, value, STEP[STEP_CLOSE]) == 0)
            begins = 1;
        Py_XDECREF(start);
        Py_XDECREF(level);
    }
    Py_DECREF(identity);
    return begins;
}

/* As `_close`. */
static int close_value(PyObject *pass, PyObject *value) {
    PyObject *steps = IN_PASS(pass, OF_STEPS), *out = IN_PASS(pass, OF_OUT), *identity = PyLong_FromVoidPtr(value);
    PyObject *begin = taken_step(steps), *marks = begin == NULL ? NULL : taken_step(steps), *digest = NULL, *pair = NULL;
    Py_ssize_t start = marks == NULL ? -1 : PyLong_AsSsize_t(begin), size = PyByteArray_GET_SIZE(out) - start;
    int failed = -1;
    if (identity == NULL || start < 0 || PyDict_DelItem(IN_PASS(pass, OF_OPEN), identity) < 0) goto done;
    if (PyLong_AsSsize_t(marks) != PyLong_AsSsize_t(IN_PASS(pass, OF_MARKS)) || size < LEAST_KEPT_APART) {
        failed = PyList_Append(IN_PASS(pass, OF_KEPT), value);
        goto done;
    }
    PyObject *written = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(out) + start, size);
    digest = written == NULL ? NULL : PyObject_CallOneArg(SHORT_DIGEST, written);
    Py_XDECREF(written);
    PyObject *mark = digest == NULL ? NULL : PyBytes_FromString("#");
    if (mark != NULL) PyBytes_Concat(&mark, digest);
    if (mark != NULL && (pair = PyTuple_Pack(2, value, mark)) != NULL && add_to(pass, OF_SIZE_BYTES, size - PyBytes_GET_SIZE(mark)) == 0
        && PyByteArray_Resize(out, start) == 0 && put_out(pass, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark)) == 0)
        failed = PyDict_SetItem(IN_PASS(pass, OF_CLOSED), identity, pair);
    Py_XDECREF(mark);
done:
    Py_XDECREF(pair);
    Py_XDECREF(digest);
    Py_XDECREF(marks);
    Py_XDECREF(begin);
    Py_XDECREF(identity);
    return failed;
}

/* As `_sequence`. */
static int visit_sequence(PyObject *pass, PyObject *value) {
    int is_list = PyList_CheckExact(value);
    PyObject *items = is_list ? PyList_GetSlice(value, 0, PyList_GET_SIZE(value)) : Py_NewRef(value);
    if (items == NULL) return -1;
    int found = put_flat(pass, items, is_list ? "[" : "(");
    if (found == 0 && (found = enter_value(pass, value)) > 0) {
        PyObject *each = PyObject_GetIter(items);
        found = put_head(pass, is_list ? "[" : "(", PySequence_Fast_GET_SIZE(items)) < 0 ? -1 : add_step(pass, each, STEP[STEP_VALUES]);
        Py_XDECREF(each);
    }
    Py_DECREF(items);
    return found < 0 ? -1 : 0;
}

/* The keys and values of a dict whose keys are all integers, in one list; NULL for another dict, perhaps with an exception. */
static PyObject *numbered_items(PyObject *mapping) {
    PyObject *items = PyList_New(0), *key, *item;
    for (Py_ssize_t at = 0; items != NULL && PyDict_Next(mapping, &at, &key, &item);)
        if (!PyLong_CheckExact(key) || PyList_Append(items, key) < 0 || PyList_Append(items, item) < 0) Py_CLEAR(items);
    return items;
}

/* As `_plain_dict`. */
static int visit_dict(PyObject *pass, PyObject *value) {
    PyObject *copy = PyDict_Copy(value);
    if (copy == NULL) return -1;
    int found = 0;
    if (has_names_alone(copy)) {
        found = put_flat(pass, copy, "{");
    } else {
        PyObject *items = numbered_items(copy);
        if (items != NULL) found = put_flat(pass, items, "k");
        Py_XDECREF(items);
        if (PyErr_Occurred()) found = -1;
    }
    if (found == 0 && (found = enter_value(pass, value)) > 0) {
        PyObject *items = PyObject_CallMethod(copy, "items", NULL), *pairs = items == NULL ? NULL : PyObject_GetIter(items);
        found = put_head(pass, "{", PyDict_GET_SIZE(copy)) < 0 ? -1 : add_step(pass, pairs, STEP[STEP_PAIRS]);
        Py_XDECREF(pairs);
        Py_XDECREF(items);
    }
    Py_DECREF(copy);
    return found < 0 ? -1 : 0;
}

/* Write an agent by its id: 1 written, 0 where the value is none, -1 with an exception. */
static int put_agent(PyObject *pass, PyObject *value) {
    PyObject *agent_of = IN_PASS(pass, OF_AGENT_OF), *agent = agent_of == Py_None ? Py_NewRef(Py_None) : PyObject_CallOneArg(agent_of, value);
    if (agent == NULL) return -1;
    int found = 0;
    if (PyUnicode_CheckExact(agent) || PyLong_CheckExact(agent)) {
        int is_other = PyObject_RichCompareBool(agent, IN_PASS(pass, OF_OWNER), Py_NE);
        if (is_other > 0 && PySet_Add(IN_PASS(pass, OF_AGENTS), agent) < 0) is_other = -1;
        found = is_other < 0 || put_out(pass, "a", 1) < 0 || put_scalar(pass, agent) < 0 ? -1 : 1;
    }
    Py_DECREF(agent);
    return found;
}

/* What is known of a class, borrowed; NULL where nothing is, or where to look for it would run code of a metaclass. */
static PyObject *known_of_class(PyObject *known, PyTypeObject *kind) {
    PyTypeObject *meta = Py_TYPE(kind);
    if (meta->tp_hash != PyType_Type.tp_hash || meta->tp_richcompare != PyType_Type.tp_richcompare) return NULL;
    PyObject *fact = PyDict_GetItemWithError(known, (PyObject *)kind);
    if (fact == NULL) PyErr_Clear(); /* the class of another object in the way, whose metaclass raises */
    return fact;
}

static int may_hold(PyObject *places, PyObject *identity) {
    return places == NULL || !PyDict_CheckExact(places) || PyDict_Contains(places, identity) != 0;
}

/* Whether an object may be written as a field, as a member of one, or as what an earlier walk reached. */
static int may_stand_elsewhere(PyObject *pass, PyObject *identity, Py_ssize_t nodes, Py_ssize_t begun) {
    PyObject *stands = IN_PASS(pass, OF_STANDS), *reached = IN_PASS(pass, OF_REACHED);
    if (stands != Py_None) {
        if (!Py_IS_TYPE(stands, STANDS_TYPE)) return 1;
        if (nodes > 1 && may_hold(IN_SLOT(stands, SLOT_IN_STANDS[STANDS_NAMES]), identity)) return 1;
        if (begun > NEAR_NODES && IN_PASS(pass, OF_IS_OF_OBJECT) == Py_True && may_hold(IN_SLOT(stands, SLOT_IN_STANDS[STANDS_MEMBERS]), identity))
            return 1;
    }
    if (reached == Py_None || begun <= FEW_NODES) return 0;
    return !Py_IS_TYPE(reached, REACHED_TYPE) || may_hold(IN_SLOT(reached, REACHED_PLACES), identity);
}

/* As `_begin_object`: 1 where the object begins, 0 where it was written, -1 with an exception. */
static int begin_object(PyObject *pass, PyObject *value) {
    PyObject *identity = PyLong_FromVoidPtr(value), *places = IN_PASS(pass, OF_PLACES), *begun = IN_PASS(pass, OF_BEGUN);
    if (identity == NULL) return -1;
    Py_ssize_t nodes = PyLong_AsSsize_t(IN_PASS(pass, OF_NODES)), nodes_begun = begun == Py_None ? nodes : PyLong_AsSsize_t(begun);
    PyObject *position = PyDict_GetItemWithError(places, identity);
    int begins = -1;
    if (position != NULL) {
        unsigned long long place = (unsigned long long)PyLong_AsSsize_t(position);
        begins = add_to(pass, OF_MARKS, 1) < 0 || put_number_in(pass, "@", place, 10, ';') < 0 ? -1 : 0;
    } else if (PyErr_Occurred()) {
        begins = -1;
    } else if (may_stand_elsewhere(pass, identity, nodes, nodes_begun)) {
        begins = as_answer(PyObject_CallFunctionObjArgs(METHOD[CALL_BEGIN_OBJECT], pass, value, NULL));
    } else {
        if (nodes_begun == 1) Py_SETREF(IN_PASS(pass, OF_IS_OF_OBJECT), Py_NewRef(Py_True));
        PyObject *place = PyLong_FromSsize_t(PyDict_GET_SIZE(places));
        if (place != NULL && add_to(pass, OF_MARKS, 1) == 0 && PyDict_SetItem(places, identity, place) == 0
            && PyList_Append(IN_PASS(pass, OF_ORDER), identity) == 0)
            begins = 1;
        Py_XDECREF(place);
    }
    Py_DECREF(identity);
    return begins;
}

/* Attributes under names that are not what they are called; `plan_attributes` reads these. */
static int is_unusual_name(const char *name, Py_ssize_t size) {
    static const char *const names[] = {"__module__", "_value_", "__agent_trace_error__"};
    for (size_t i = 0; *name == '_' && i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == (size_t)size && memcmp(names[i], name, (size_t)size) == 0) return 1;
    return size == 0;
}

/* Whether all names are ASCII and usual, so that their order is that of their characters; and whether they stand in it. */
static int are_usual_names(PyObject *attributes, int *are_in_order) {
    PyObject *name, *item, *before = NULL;
    for (Py_ssize_t at = 0; PyDict_Next(attributes, &at, &name, &item); before = name) {
        if (!PyUnicode_CheckExact(name) || !PyUnicode_IS_COMPACT_ASCII(name)) return 0;
        if (is_unusual_name((const char *)PyUnicode_1BYTE_DATA(name), PyUnicode_GET_LENGTH(name))) return 0;
        if (before != NULL && *are_in_order) *are_in_order = PyUnicode_Compare(before, name) < 0;
    }
    return 1;
}

/* What an object has in its `__dict__` and slots, copied; NULL where Python has to read it. */
static PyObject *copied_attributes(PyObject *value) {
    PyObject *places = known_of_class(STORAGES, Py_TYPE(value)), *own = NULL, *attributes = NULL;
    if (places == NULL || !PyTuple_Check(places) || PyTuple_GET_SIZE(places) != 2) return NULL;
    PyObject *slots = PyTuple_GET_ITEM(places, 0), *instance = PyTuple_GET_ITEM(places, 1);
    if (!PyTuple_CheckExact(slots) || !(instance == Py_None || Py_IS_TYPE(instance, &PyGetSetDescr_Type))) return NULL;
    Py_INCREF(places);
    if (instance != Py_None) {
        own = PyGetSetDescr_Type.tp_descr_get(instance, value, (PyObject *)Py_TYPE(value));
        if (own == NULL || !PyDict_CheckExact(own) || !has_names_alone(own)) goto done;
    }
    if (own != NULL && PyTuple_GET_SIZE(slots) == 0) {
        attributes = PyDict_Copy(own);
    } else {
        PyObject *given[2] = {value, slots};
        attributes = in_slots(NULL, given, 2);
        Py_ssize_t count = attributes == NULL || own == NULL ? -1 : PyDict_GET_SIZE(attributes) + PyDict_GET_SIZE(own);
        /* a slot and an attribute of the same name: one of them gets another name */
        if (count >= 0 && (PyDict_Update(attributes, own) < 0 || PyDict_GET_SIZE(attributes) != count)) Py_CLEAR(attributes);
    }
done:
    Py_XDECREF(own);
    Py_DECREF(places);
    return attributes;
}

static PyObject *in_order(PyObject *mapping) {
    PyObject *names = PyDict_Keys(mapping), *ordered = names == NULL || PyList_Sort(names) < 0 ? NULL : PyDict_New();
    for (Py_ssize_t i = 0; ordered != NULL && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i), *item = PyDict_GetItemWithError(mapping, name);
        if (item == NULL || PyDict_SetItem(ordered, name, item) < 0) Py_CLEAR(ordered);
    }
    Py_XDECREF(names);
    return ordered;
}

/* What counts of a member of an enum. */
static PyObject *name_and_value(PyObject *attributes) {
    PyObject *both = PyDict_New(), *name = PyDict_GetItemWithError(attributes, W_of_name), *value = PyDict_GetItemWithError(attributes, W_of_value);
    if (both == NULL || name == NULL || value == NULL || PyDict_SetItem(both, W_of_name, name) < 0 || PyDict_SetItem(both, W_of_value, value) < 0)
        Py_CLEAR(both);
    return both;
}

/* As `plan_attributes`, by the order of names; NULL where Python has to read them. */
static PyObject *usual_attributes(PyObject *value, PyObject *plan) {
    PyObject *lazy = OF_PLAN(plan, PLAN_LAZY), *name;
    PyObject *attributes = OF_PLAN(plan, PLAN_HAS_WAITERS) == Py_False ? copied_attributes(value) : NULL;
    int are_in_order = 1;
    Py_hash_t hash;
    if (attributes == NULL) goto left;
    int is_member = PyDict_Contains(attributes, W_of_value);
    if (is_member > 0 && (is_member = PyDict_Contains(attributes, W_of_name)) > 0) {
        Py_SETREF(attributes, name_and_value(attributes));
        if (attributes != NULL) return attributes;
    }
    if (is_member < 0 || attributes == NULL || !are_usual_names(attributes, &are_in_order) || !PyFrozenSet_CheckExact(lazy)) goto left;
    for (Py_ssize_t at = 0; _PySet_NextEntry(lazy, &at, &name, &hash);) {
        if (!PyUnicode_CheckExact(name)) goto left;
        int is_held = PyDict_Contains(attributes, name);
        if (is_held < 0 || (is_held && PyDict_DelItem(attributes, name) < 0)) goto left;
    }
    if (!are_in_order) Py_SETREF(attributes, in_order(attributes));
    if (attributes != NULL) return attributes;
left:
    Py_XDECREF(attributes);
    PyErr_Clear();
    return NULL;
}

/* As `_pairs`. */
static int begin_pairs(PyObject *pass, PyObject *items, const char *head) {
    Py_ssize_t count = PyObject_Size(items);
    PyObject *pairs = count < 0 ? NULL : PyObject_GetIter(items);
    int failed = pairs == NULL || put_head(pass, head, count) < 0 ? -1 : add_step(pass, pairs, STEP[STEP_PAIRS]);
    Py_XDECREF(pairs);
    return failed;
}

/* As `_pieces`. */
static int put_pieces(PyObject *pass, PyObject *pieces) {
    PyObject *raw = OF_PIECES(pieces, PIECES_RAW), *mapping = OF_PIECES(pieces, PIECES_MAPPING), *ordered = OF_PIECES(pieces, PIECES_ORDERED);
    PyObject *label = OF_PIECES(pieces, PIECES_LABEL);
    if (OF_PIECES(pieces, PIECES_ALGORITHM) != USUAL_ALGORITHM || OF_PIECES(pieces, PIECES_MEMBERS) != Py_None || !PyUnicode_CheckExact(label)
        || !(raw == Py_None || PyBytes_CheckExact(raw)) || !PyTuple_CheckExact(ordered))
        return have_done(pass, CALL_PIECES, pieces, NULL);
    if (put_out(pass, "p", 1) < 0 || put_text(pass, label) < 0) return -1;
    if (OF_PIECES(pieces, PIECES_HAS_CODE) == Py_True) Py_SETREF(IN_PASS(pass, OF_HAS_CODE), Py_NewRef(Py_True));
    if (raw != Py_None && (count_nodes(pass, 1) < 0 || put_scalar(pass, raw) < 0)) return -1;
    if (mapping != Py_None && add_step(pass, mapping, STEP[STEP_MAPPING]) < 0) return -1;
    if (PyTuple_GET_SIZE(ordered) == 0) return 0;
    PyObject *each = PyObject_GetIter(ordered);
    int failed = each == NULL || put_head(pass, "", PyTuple_GET_SIZE(ordered)) < 0 ? -1 : add_step(pass, each, STEP[STEP_VALUES]);
    Py_XDECREF(each);
    return failed;
}

/* As `_object`; `reads` returns the pieces of an object that has more than attributes, and is NULL for others. */
static int put_object(PyObject *pass, PyObject *value, PyObject *plan, PyObject *reads) {
    PyTypeObject *base = (PyTypeObject *)OF_PLAN(plan, PLAN_BASE);
    int has_none = base == &PyFunction_Type || PyType_IsSubtype(base, &PyType_Type), found = -1;
    PyObject *attributes = has_none ? PyDict_New() : usual_attributes(value, plan), *head = OF_PLAN(plan, PLAN_HEAD), *pieces = NULL;
    if (attributes == NULL) return has_none ? -1 : have_done(pass, CALL_OBJECT, value, plan);
    if (reads != NULL && (pieces = PyObject_CallOneArg(reads, value)) == NULL) goto done;
    found = put_out(pass, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head));
    if (found == 0 && PyDict_GET_SIZE(attributes) > 0 && (found = put_flat(pass, attributes, ".")) == 0) {
        PyObject *items = PyObject_CallMethod(attributes, "items", NULL);
        /* the pieces come before attributes that take steps of their own */
        if (items == NULL) found = -1;
        else found = pieces == NULL ? begin_pairs(pass, items, ".") : add_step(pass, items, STEP[STEP_ATTRIBUTES]);
        Py_XDECREF(items);
    }
    if (found >= 0 && pieces != NULL) found = Py_IS_TYPE(pieces, PIECES_TYPE) ? put_pieces(pass, pieces) : have_done(pass, CALL_PIECES, pieces, NULL);
done:
    Py_XDECREF(pieces);
    Py_DECREF(attributes);
    return found < 0 ? -1 : 0;
}

/* Whether objects of a class have only attributes, all of which are their own. */
static int is_of_attributes(PyObject *plan) {
    return OF_PLAN(plan, PLAN_IS_SIMPLE) == Py_True && OF_PLAN(plan, PLAN_IS_NAMED) == Py_False && OF_PLAN(plan, PLAN_CARRIED) == Py_None
        && PyBytes_CheckExact(OF_PLAN(plan, PLAN_HEAD));
}

/* Write a class, a module, a handle or a function of a source: 1 written, 0 where the value is another, -1 with an exception. */
static int put_reference(PyObject *pass, PyObject *value) {
    PyObject *named = PyObject_CallOneArg(NAMED_OF, value), *text = NULL;
    if (named == Py_None) {
        Py_DECREF(named);
        return 0;
    }
    if (named != NULL && PyTuple_Check(named) && PyTuple_GET_SIZE(named) >= 2 && PyUnicode_Check(PyTuple_GET_ITEM(named, 0))
        && PyUnicode_Check(PyTuple_GET_ITEM(named, 1)))
        text = PyUnicode_FromFormat("%U %U", PyTuple_GET_ITEM(named, 0), PyTuple_GET_ITEM(named, 1));
    int found = text == NULL || put_out(pass, "n", 1) < 0 || put_text(pass, text) < 0 ? -1 : 1;
    if (found < 0 && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "no name");
    Py_XDECREF(text);
    Py_XDECREF(named);
    return found;
}

/* A name in a module, which may be the running script. */
static int put_name_in_module(PyObject *pass, PyObject *name) {
    PyObject *module = PyObject_CallOneArg(MODULE_NAME, PyTuple_GET_ITEM(name, 0));
    PyObject *both = module == NULL ? NULL : PyTuple_Pack(2, module, PyTuple_GET_ITEM(name, 1)), *each = both == NULL ? NULL : PyObject_GetIter(both);
    int failed = each == NULL || put_out(pass, "q", 1) < 0 ? -1 : add_step(pass, each, STEP[STEP_VALUES]);
    Py_XDECREF(each);
    Py_XDECREF(both);
    Py_XDECREF(module);
    return failed;
}

/* As `_exact`, of a number of numpy that JSON holds: 1 written, 0 for others, -1 with an exception. */
static int put_number(PyObject *pass, PyObject *value, PyObject *name) {
    PyObject *number = PyUnicode_CheckExact(name) ? own_number(value) : NULL;
    if (number == NULL) return PyErr_Occurred() ? -1 : 0;
    int found = 0;
    if (PyBool_Check(number) || PyLong_CheckExact(number) || (PyFloat_CheckExact(number) && isfinite(PyFloat_AS_DOUBLE(number)))) {
        found = PyList_Append(IN_PASS(pass, OF_KEPT), value) < 0 || put_out(pass, "r", 1) < 0 || count_nodes(pass, 1) < 0
                || put_text(pass, name) < 0 || count_nodes(pass, 1) < 0 || put_scalar(pass, number) < 0
            ? -1
            : 1;
    }
    Py_DECREF(number);
    return found;
}

/* As `_no_agent`. */
static int visit_no_agent(PyObject *pass, PyObject *value, PyTypeObject *kind, PyObject *plan) {
    PyObject *reads = NULL, *way;
    if (kind == NAME_TYPE) return put_name_in_module(pass, value);
    if (kind == &PyCode_Type && IN_PASS(pass, OF_LEAVES_OUT_CODE) == Py_True) return put_out(pass, "c", 1);
    int has_attributes_alone = is_of_attributes(plan), found = 0;
    int is_left = !has_attributes_alone && (kind == &PySet_Type || kind == &PyFrozenSet_Type || PyDict_GET_SIZE(CODECS_OF_USERS) > 0);
    if (!is_left && OF_PLAN(plan, PLAN_IS_NAMED) == Py_True && (found = put_reference(pass, value)) != 0) return found < 0 ? -1 : 0;
    if (!is_left && !has_attributes_alone) {
        way = Py_XNewRef(known_of_class(WAYS, kind));
        if (way != NULL && PyTuple_CheckExact(way) && PyTuple_GET_SIZE(way) == 2) found = put_number(pass, value, PyTuple_GET_ITEM(way, 1));
        Py_XDECREF(way);
        if (found != 0) return found < 0 ? -1 : 0;
        is_left = way != Py_None || OF_PLAN(plan, PLAN_CARRIED) != Py_None || OF_PLAN(plan, PLAN_IS_SIMPLE) == Py_True
            || !PyType_Check(OF_PLAN(plan, PLAN_BASE)) || !PyBytes_CheckExact(OF_PLAN(plan, PLAN_HEAD))
            || (reads = known_of_class(READERS, (PyTypeObject *)OF_PLAN(plan, PLAN_BASE))) == NULL;
    }
    if (is_left) return have_done(pass, CALL_NO_AGENT, value, (PyObject *)kind);
    Py_XINCREF(reads);
    if ((found = PyList_Append(IN_PASS(pass, OF_KEPT), value)) == 0) {
        found = OF_PLAN(plan, PLAN_IS_VALUE) == Py_True ? enter_value(pass, value) : begin_object(pass, value);
        if (found > 0) found = put_object(pass, value, plan, reads);
    }
    Py_XDECREF(reads);
    return found < 0 ? -1 : 0;
}

/* As `_other`. */
static int visit_other(PyObject *pass, PyObject *value) {
    PyObject *kind = Py_NewRef(Py_TYPE(value)); /* an object may get another class while it is asked for its id */
    int found = put_agent(pass, value);
    if (found == 0) {
        PyObject *plan = Py_XNewRef(known_of_class(PLANS, (PyTypeObject *)kind));
        if (plan != NULL && Py_IS_TYPE(plan, PLAN_TYPE)) found = visit_no_agent(pass, value, (PyTypeObject *)kind, plan);
        else found = have_done(pass, CALL_NO_AGENT, value, kind);
        Py_XDECREF(plan);
    }
    Py_DECREF(kind);
    return found < 0 ? -1 : 0;
}

/* As `_visit`. */
static int visit_value(PyObject *pass, PyObject *value) {
    if (count_nodes(pass, 1) < 0) return -1;
    if (is_scalar_of_pass(value)) return put_scalar(pass, value);
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) return visit_sequence(pass, value);
    if (PyDict_CheckExact(value)) return visit_dict(pass, value);
    return visit_other(pass, value);
}

/* As `_next_values`. */
static int visit_values(PyObject *pass, PyObject *values) {
    for (PyObject *value; (value = PyIter_Next(values)) != NULL;) {
        int is_last = !is_scalar_of_pass(value), failed;
        if (is_last) failed = add_step(pass, values, STEP[STEP_VALUES]) < 0 ? -1 : add_step(pass, value, STEP[STEP_VISIT]);
        else failed = count_nodes(pass, 1) < 0 ? -1 : put_scalar(pass, value);
        Py_DECREF(value);
        if (failed < 0 || is_last) return failed;
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Whether all under a key is a secret; -1 with an exception. */
static int is_denied_key(PyObject *hides, PyObject *key) {
    if (hides == Py_None) return 0;
    if (begin_asking(hides) < 0) return -1;
    PyObject *known = PyDict_GetItemWithError(DENIED_KEYS, key);
    if (known != NULL || PyErr_Occurred()) return known == NULL ? -1 : known == Py_True;
    int is_denied = as_answer(PyObject_CallMethodOneArg(hides, W_is_denied, key));
    if (is_denied < 0 || ADVISER != hides) return is_denied;
    if (PyDict_GET_SIZE(DENIED_KEYS) >= MOST_TEXTS) PyDict_Clear(DENIED_KEYS);
    return PyDict_SetItem(DENIED_KEYS, key, is_denied ? Py_True : Py_False) < 0 ? -1 : is_denied;
}

/* As `_next_pairs`, of one pair: 1 to go on, 0 where a step has to come first, -1 with an exception. */
static int visit_pair(PyObject *pass, PyObject *pairs, PyObject *key, PyObject *item) {
    int is_denied = 0;
    if (PyUnicode_CheckExact(key)) {
        if (put_text(pass, key) < 0 || (is_denied = is_denied_key(IN_PASS(pass, OF_HIDES), key)) < 0) return -1;
    } else if (PyLong_CheckExact(key)) {
        if (put_integer(pass, key) < 0) return -1;
    } else {
        if (add_step(pass, pairs, STEP[STEP_PAIRS]) < 0 || add_step(pass, item, STEP[STEP_VISIT]) < 0) return -1;
        return add_step(pass, key, STEP[STEP_VISIT]);
    }
    if (!is_denied && is_scalar_of_pass(item)) return count_nodes(pass, 1) < 0 || put_scalar(pass, item) < 0 ? -1 : 1;
    if (add_step(pass, pairs, STEP[STEP_PAIRS]) < 0) return -1;
    return add_step(pass, item, STEP[is_denied ? STEP_HIDE : STEP_VISIT]);
}

static int visit_pairs(PyObject *pass, PyObject *pairs) {
    for (PyObject *pair; (pair = PyIter_Next(pairs)) != NULL;) {
        int goes_on = -1;
        if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2) {
            PyObject *key = Py_NewRef(PyTuple_GET_ITEM(pair, 0)), *item = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
            goes_on = visit_pair(pass, pairs, key, item);
            Py_DECREF(item);
            Py_DECREF(key);
        } else {
            PyErr_SetString(PyExc_ValueError, "no pair");
        }
        Py_DECREF(pair);
        if (goes_on <= 0) return goes_on;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int take_step(PyObject *pass, PyObject *step, PyObject *argument) {
    if (step == STEP[STEP_VISIT]) return visit_value(pass, argument);
    if (step == STEP[STEP_PAIRS] && PyIter_Check(argument)) return visit_pairs(pass, argument);
    if (step == STEP[STEP_VALUES]) return visit_values(pass, argument);
    if (step == STEP[STEP_CLOSE]) return close_value(pass, argument);
    if (step == STEP[STEP_ATTRIBUTES]) return begin_pairs(pass, argument, ".");
    if (step == STEP[STEP_MAPPING]) return begin_pairs(pass, argument, "{");
    PyObject *done = PyObject_CallFunctionObjArgs(step, pass, argument, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* run_pass(pass, value): as `_Walk.run`. */
static PyObject *run_pass(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || PASS_TYPE == NULL || !Py_IS_TYPE(given[0], PASS_TYPE)) return PyErr_Format(PyExc_TypeError, "run_pass(pass, value)");
    PyObject *pass = given[0], *steps = PyList_New(0);
    if (steps == NULL) return NULL;
    PyObject *outer = IN_PASS(pass, OF_STEPS);
    IN_PASS(pass, OF_STEPS) = Py_NewRef(steps);
    int failed = add_step(pass, given[1], STEP[STEP_VISIT]);
    while (failed == 0 && PyList_GET_SIZE(steps) > 0) {
        PyObject *step = taken_step(steps), *argument = step == NULL ? NULL : taken_step(steps);
        failed = argument == NULL ? -1 : take_step(pass, step, argument);
        Py_XDECREF(argument);
        Py_XDECREF(step);
    }
    Py_SETREF(IN_PASS(pass, OF_STEPS), outer);
    Py_DECREF(steps);
    if (failed < 0) return NULL;
    Py_RETURN_NONE;
}

static int learn_slots(PyTypeObject *cls, const char *const *names, int count, Py_ssize_t *offsets) {
    for (int i = 0; i < count; i++) {
        PyObject *slot = PyDict_GetItemString(cls->tp_dict, names[i]);
        if (slot == NULL || !Py_IS_TYPE(slot, &PyMemberDescr_Type) || ((PyMemberDescrObject *)slot)->d_member->type != T_OBJECT_EX) {
            PyErr_Format(PyExc_TypeError, "%s has no slot %s", cls->tp_name, names[i]);
            return -1;
        }
        offsets[i] = ((PyMemberDescrObject *)slot)->d_member->offset;
    }
    return 0;
}

/* Where each fact stands in a named tuple. */
static int learn_facts(PyTypeObject *cls, const char *const *names, int count, Py_ssize_t *places) {
    PyObject *fields = PyObject_GetAttrString((PyObject *)cls, "_fields");
    int failed = fields == NULL || !PyTuple_CheckExact(fields) ? -1 : 0;
    for (int i = 0; failed == 0 && i < count; i++) {
        Py_ssize_t at = 0, size = PyTuple_GET_SIZE(fields);
        while (at < size && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(fields, at), names[i]) != 0) at++;
        places[i] = at;
        failed = at < size ? 0 : -1;
    }
    Py_XDECREF(fields);
    if (failed < 0 && !PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "%s lacks a field", cls->tp_name);
    return failed;
}

static int learn_functions(PyObject *cls, const char *const *names, int count, PyObject **functions) {
    for (int i = 0; i < count; i++) {
        PyObject *function = PyDict_GetItemString(((PyTypeObject *)cls)->tp_dict, names[i]);
        if (function == NULL) {
            PyErr_Format(PyExc_TypeError, "the pass has no method %s", names[i]);
            return -1;
        }
        Py_XSETREF(functions[i], Py_NewRef(function));
    }
    return 0;
}

/* learn_pass(used, plan, stands, reached, plans, storages, ways, readers, codecs): what `run_pass` uses of `content_digest.py`, the classes
   of what it reads there, and what is known by class: plans, where attributes are, how values are written, and what reads their pieces. */
static PyObject *learn_pass(PyObject *Py_UNUSED(module), PyObject *arguments) {
    static const char *const places[] = {"places"};
    PyTypeObject *cls, *plan, *stands, *reached, *pieces, *name;
    PyObject *digest, *elsewhere, *dumps, *options, *directories, *named, *module_name, *algorithm, *plans, *storages, *ways, *readers, *codecs;
    if (!PyArg_ParseTuple(
            arguments, "(O!OOOOO!O!O!OOO)O!O!O!O!O!O!O!O!", &PyType_Type, &cls, &digest, &elsewhere, &dumps, &options, &PyDict_Type, &directories,
            &PyType_Type, &pieces, &PyType_Type, &name, &named, &module_name, &algorithm, &PyType_Type, &plan, &PyType_Type, &stands,
            &PyType_Type, &reached, &PyDict_Type, &plans, &PyDict_Type, &storages, &PyDict_Type, &ways, &PyDict_Type, &readers, &PyDict_Type,
            &codecs
        ))
        return NULL;
    if (learn_slots(cls, SLOT_NAMES, SLOTS_OF_PASS, SLOT_AT) < 0 || learn_slots(stands, NAMES_IN_STANDS, SLOTS_OF_STANDS, SLOT_IN_STANDS) < 0
        || learn_slots(reached, places, 1, &REACHED_PLACES) < 0 || learn_facts(plan, FACT_NAMES, FACTS_OF_PLAN, FACT_AT) < 0
        || learn_facts(pieces, NAMES_OF_PIECES, FACTS_OF_PIECES, PIECE_AT) < 0
        || learn_functions((PyObject *)cls, STEP_NAMES, KNOWN_STEPS, STEP) < 0
        || learn_functions((PyObject *)cls, METHOD_NAMES, CALLS_OF_PASS, METHOD) < 0)
        return NULL;
    PyObject **const kept[] = {&SHORT_DIGEST, &IMPORTED, &WRITE_JSON, &WRITE_OPTIONS, &DIRECTORIES, &NAMED_OF, &MODULE_NAME, &USUAL_ALGORITHM,
                               &PLANS,        &STORAGES, &WAYS,       &READERS,       &CODECS_OF_USERS};
    PyObject *const given[] = {digest, elsewhere, dumps, options, directories, named, module_name, algorithm, plans, storages, ways, readers, codecs};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) Py_XSETREF(*kept[i], Py_NewRef(given[i]));
    if ((W_text = PyUnicode_InternFromString("text")) == NULL || (W_is_harmless = PyUnicode_InternFromString("is_harmless")) == NULL
        || (W_is_denied = PyUnicode_InternFromString("is_denied")) == NULL || (W_of_value = PyUnicode_InternFromString("_value_")) == NULL
        || (W_of_name = PyUnicode_InternFromString("_name_")) == NULL)
        return NULL;
    Py_XSETREF(PLAN_TYPE, (PyTypeObject *)Py_NewRef(plan));
    Py_XSETREF(STANDS_TYPE, (PyTypeObject *)Py_NewRef(stands));
    Py_XSETREF(REACHED_TYPE, (PyTypeObject *)Py_NewRef(reached));
    Py_XSETREF(PIECES_TYPE, (PyTypeObject *)Py_NewRef(pieces));
    Py_XSETREF(NAME_TYPE, (PyTypeObject *)Py_NewRef(name));
    Py_XSETREF(PASS_TYPE, (PyTypeObject *)Py_NewRef(cls));
    Py_RETURN_NONE;
}
